"""Measurements, each printed as a table: run them with `python -m benchmarks.<name>`.

    throughput    the worker against its peers on one broker, its latency, where its time goes
    hop           what a further entity costs in time, event to score
    rollback      how soon a rollback is in force on every worker, under load
    estimators    compiled estimators against River's own, MOA and Vowpal Wabbit
    parity        compiled trees against River's, event by event
    fuzz          garbage thrown at native code, under AddressSanitizer
    features      what entity windows cost: throughput, bytes
    reasons       what reasons cost, by pipeline
    pending       what waiting events cost in Redis
    learner       what the learner costs above River's own calls
    outbox        ways to publish a batch
    fraud         how well the shipped fraud configuration does, and what its windows bring
    gate          how often the promotion gate is wrong, and how soon it is right
    policies      what each response policy is worth
    false_alarms  how often drift detectors cry wolf

Parts of several: `broker` (where to run), `records`, `elec2` and `cards` (what is sent),
`contender` (what a peer is told and reports), `peer_*` (the peers, each a process), `processes`
(the worker as a process), `latency` (paced load), `hotspots` and `sampled_worker` (the profile),
`river_worker` (the worker without native code), `report` (the tables of `throughput`),
`estimator_models` and `estimator_streams` (pairs of estimators, and rows for them), `garbage` and
`fuzz_features` (what `fuzz` throws).
"""
