"""Every name that traces, metrics and structured logs show: one list, so that dashboards have something to rely on."""

INSTRUMENTATION = "perdure"
"""Name of the tracer and of the meter."""

# Spans: `<name>:<type>`, as users of Temporal know them.
START_WORKFLOW = "StartWorkflow"
SIGNAL_WITH_START_WORKFLOW = "SignalWithStartWorkflow"
SIGNAL_WORKFLOW = "SignalWorkflow"
QUERY_WORKFLOW = "QueryWorkflow"
CANCEL_WORKFLOW = "CancelWorkflow"
TERMINATE_WORKFLOW = "TerminateWorkflow"
RUN_WORKFLOW = "RunWorkflow"
ACTIVATE_WORKFLOW = "ActivateWorkflow"
RUN_ACTIVITY = "RunActivity"

# Attributes of spans.
WORKFLOW_ID = "temporalWorkflowID"
RUN_ID = "temporalRunID"
ACTIVITY_ID = "temporalActivityID"
ATTEMPT = "perdure.attempt"
FIRST_EVENT_ID = "perdure.first_event_id"
STATUS = "perdure.status"

# Metrics (design.md 9).
COMMIT_LATENCY = "perdure.commit.latency"
ACTIVATION_TIME = "perdure.activation.time"
END_TO_END_DELAY = "perdure.command.delay"
LAG = "perdure.partition.lag"
IN_FLIGHT = "perdure.partition.in_flight"
CACHED_RUNS = "perdure.runs.cached"
CACHE_LOOKUPS = "perdure.runs.lookups"
QUEUE_DEPTH = "perdure.worker.queue_depth"
DEAD_RECORDS = "perdure.records.dead"
STRIKES = "perdure.strikes"

# Attributes of metrics, and keys of structured logs.
LOG_NAMESPACE = "namespace"
LOG_PARTITION = "partition"
LOG_TASK_QUEUE = "task_queue"
LOG_CLAIM_NUMBER = "claim_number"
LOG_WORKFLOW_ID = "workflow_id"
LOG_RUN_ID = "run_id"
LOG_TRACE_ID = "trace_id"
LOG_SPAN_ID = "span_id"
CAUSE = "cause"
HIT = "hit"
