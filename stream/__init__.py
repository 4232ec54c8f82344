"""The shell around the core: Kafka, processes, time, the command line. Imports nothing itself.

The flow, once for each batch of records:

1. `app` builds a Faust application; Faust joins the consumer group and is assigned partitions.
2. `delivery` reads whole batches for the `agents`, which give them to the `lanes`.
3. A `lane` is one partition with one owner: it takes its position from Redis, and calls a handler.
4. `score` validates an event, scores it with the model in force, or the challenger whose share
   its entity is in, stores the decision as pending
   (first write wins) and publishes it to scores and, if it alerts, to alerts.
5. `label` finds the pending event of a label and appends an example: features, score, label. What
   nobody labels in time, the score lane appends as a negative, if so configured.
6. `learn` folds the examples, in the log's order, into the learner: metrics, drift, versions.
7. The lane publishes through the `outbox`, awaits Kafka's acknowledgement, then commits state and
   position to Redis in one write, which Redis refuses if another worker has the lane by now.
8. A record that can't be used becomes a dead letter with its origin and a reason, and goes on.
9. While Kafka or Redis are away, `outages` try again. Any other error ends the worker, which
   starts again where the last commit left off.
10. The model is nothing but the fold of the examples log: `replay` makes it again, and proves it.

Reading order: `agents`, `lane`, `score`, `label`, `learn`, then `models.learner`.

The worker:
    app         the composition root: settings in, a Faust application out
    worker      its parts put together: lanes, the model in force, metrics
    agents      one agent a topic: batches to lanes
    batching    whole fetched batches through Faust's plug points
    delivery    Faust's consumer: from the lanes' positions, and by a short way
    record_reader  what it reads with, on the loop that handles the records
    lanes       the lanes owned now: opened and closed as partitions come and go
    lane        one partition in order; the commit order of all lanes
    score       handler: event to decision            (knows no framework)
    explaining  which decisions get reasons
    arms        challengers that score live traffic: in shadow, or a share for real
    shadows     what they say of events that another arm decided
    silence     its sweep: events that nobody labelled become negatives
    label       handler: label to example             (knows no framework)
    fields      the feature names behind pending records
    derived     features of the calendar and of entities' pasts, stage by stage
    intake      records of events, decoded or refused
    enrich      handler: event to event with more features, for further entities
    re_keyed    what stands in the logs by further entities
    learn       handler: example to model and version (knows no framework)
    responses   what policies did about drift, as records
    control     operators' commands, decided one at a time (knows no framework)
    succession  the line of champions, and which commands go along it
    rulings     what they are decided with
    challenger  one of the learners beside the champion
    challengers  learners beside the champion, in the time that it leaves
    challenger_states  how they are saved
    challenge   commands about them, and the gate
    standings   how they do, for everybody to read
    erasure     whose examples a version was folded from
    scorer      the model in force: the live learner, or the newest version
    label_free  drift of scores and features, before any label
    vault       stored versions: verified, newest good first
    learners    the learner that the configuration describes; loads exported versions
    kafka_logs  commands and past examples, read beside the lanes
    outbox      the one way out to Kafka, a batch at a time
    hardening   what Kafka clients do not survive by themselves
    outages     waiting until a server that is away comes back
    ports       what handlers and lanes need, as Protocols
    metrics     Prometheus
    logs        what libraries may repeat
    http        /metrics, /healthz, /readyz

What all parts share:
    settings    driftline.toml and DRIFTLINE_ variables, checked; `presets/` holds shipped ones
    challenger_settings  the section about challengers
    mlflow_settings  the section about MLflow
    decision_settings  its sections of what becomes of a score
    feature_settings  its section of features that are made of the past
    durations   "7d" and "250ms" as seconds
    alarm_budget  "1 per 30 days" as a number
    drift_section  its section [drift]
    section     what its sections are made of: strictness, secrets, errors
    topics      the table of topics
    topology    the topics and stages of one configuration
    flow        which lanes read, write and keep what then
    flow_picture  the same as a picture
    messages    wire formats: what is written, to Kafka and as pending records
    decoding    what producers send: decoding is validation
    clients     how each Kafka and Redis client logs in
    birth       whether Redis still holds what the application has lived through

The command line (`cli/`, a module a subject) and what it calls:
    __main__    entry point
    kafka_log   whole topics read and written in bulk
    kafka_group  what Kafka knows of the workers' group
    rows        files of past events, row by row
    feed        rows to the records of producers
    schedule    when labels are due
    evaluation  the learner over a file, without servers
    drift_truth  the drift watches over streams whose change points are known
    alert_value  what its alerts were worth
    replay      the learner over the examples log
    genealogy   lineages: what branched from what, and which was champion when
    differences  what changed between two versions
    tags        names that people give to versions
    commands    a command given, and its outcome awaited
    promotions  what became the champion, as entries of an experiment tracker
    mlflow_runs  the entries as runs of MLflow
    ledger      every event and label accounted for
    clocks      metrics matured and estimated, and how much is labelled
    recovery    what Redis held, rebuilt from the logs
    outcomes    what came of each input, as the outputs tell: where lanes go on
    decided     published decisions with their events, as pending records
    retracing   what commands had led to, from the audit
    runs        sets of offsets, and their gaps
    dead_letters  unusable records: addressed, chosen, explained
    replays     dead letters published again, each once
    reference   docs/configuration.md, from the settings

The demo:
    embedded      a Kafka and a Redis from wheels
    simulate      simulated card payments
    flights       real flights of 2013
    demo          the whole system for a minute
    demo_feed     what it plays
    demo_worker   its worker process
    demo_state    what it knows
    demo_screen   where it shows itself
    demo_view     how it looks
    demo_summary  what it says at the end
"""
