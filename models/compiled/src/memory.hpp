// How much memory a container takes, as a function of what is in it.
#pragma once

#include <cstddef>
#include <vector>

namespace driftline {

// A vector that grew doubles its room. Counting that, and not its capacity, which differs after a
// dump was loaded, keeps decisions by size the same there.
template <class Item> size_t bytes_of(const std::vector<Item> &items) {
    size_t room = items.empty() ? 0 : 1;
    while (room < items.size()) room *= 2;
    return room * sizeof(Item);
}

}  // namespace driftline
