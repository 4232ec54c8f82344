"""Measurements, each printed as a table: run them with `python -m benchmarks.<name>`.

    throughput   the worker against its peers on one broker, its latency, where its time goes
    outbox       ways to publish a batch
    learner      what the learner costs above River's own calls
    fraud        how well the shipped fraud configuration does, and what its windows bring
    rollback     how soon a rollback is in force on every worker, under load
    gate         how often the promotion gate is wrong, and how soon it is right

Parts of `throughput`: `broker` (where to run), `elec2` (the records), `contender` (what a peer is
told and reports), `peer_*` (the peers, each a process), `worker` (the worker as a process),
`latency` (paced load), `hotspots` and `sampled_worker` (the profile), `report` (the tables).
"""
