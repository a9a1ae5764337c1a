"""Names of spans and of their attributes."""

TRACER = "perdure"

START_WORKFLOW = "StartWorkflow"
SIGNAL_WORKFLOW = "SignalWorkflow"
QUERY_WORKFLOW = "QueryWorkflow"
RUN_WORKFLOW = "RunWorkflow"
ACTIVATE_WORKFLOW = "ActivateWorkflow"
RUN_ACTIVITY = "RunActivity"

WORKFLOW_ID = "temporalWorkflowID"
RUN_ID = "temporalRunID"
ACTIVITY_ID = "temporalActivityID"
ATTEMPT = "perdure.attempt"
PARTITION = "perdure.partition"
OFFSET = "perdure.offset"
STATUS = "perdure.status"
