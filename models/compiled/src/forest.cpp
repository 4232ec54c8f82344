#include "forest.hpp"

#include <algorithm>

namespace driftline {

void Forest::predict(const Row &row, std::vector<double> &proba, std::vector<int32_t> &order) {
    order.clear();
    proba_.resize(proba.size());
    for (Member &member : members_) {
        member.tree.predict(row, proba_);
        const double weight = member.record.weight(*rules_);
        const bool is_first = order.empty();
        for (const int32_t cls : member.tree.classes()) {
            const auto at = static_cast<size_t>(cls);
            const double vote = proba_[at] * weight;
            if (is_first || std::find(order.begin(), order.end(), cls) == order.end()) {
                order.push_back(cls);
                proba[at] = vote;
            } else {
                proba[at] += vote;
            }
        }
    }
    double total = 0.0;
    for (const int32_t cls : order) total += proba[static_cast<size_t>(cls)];
    if (total <= 0.0) return;
    for (const int32_t cls : order) proba[static_cast<size_t>(cls)] /= total;
}

void Forest::attribute(const Row &row, int32_t cls, Attribution &found) {
    for (Member &member : members_) {
        member.tree.attribute(row, cls, member.record.weight(*rules_), found);
    }
    found.average();
}

void Forest::learn(const Row &row, int32_t cls) {
    begin_learning(row);
    for (Member &member : members_) {
        const bool is_wrong = member.tree.predict_class(row) != cls;
        member.record.learn(is_wrong);
        if (learn_drawn(member, row, cls)) watch(member, is_wrong ? 1.0 : 0.0);
    }
}

}  // namespace driftline
