"""Attach to a task group again with the Globus Compute executor; REST is all that it needs for that."""

import json
import sys
import time
import uuid

from globus_compute_sdk import Executor

from funcx_lab.globus import globus_client


def double(x):
    return 2 * x


client = globus_client()
(endpoint,) = client.get_endpoints()
function_id = client.register_function(double)
batch = client.create_batch(task_group_id=str(uuid.uuid4()))
for number in range(3):
    batch.add(function_id, args=(number,))
submitted = client.batch_run(endpoint["uuid"], batch)
task_ids = submitted["tasks"][function_id]
deadline = time.monotonic() + 60
while any(client.get_task(task_id)["pending"] for task_id in task_ids):
    assert time.monotonic() < deadline, "the tasks do not end"
    time.sleep(0.05)
executor = Executor(
    endpoint_id=endpoint["uuid"], client=globus_client(), task_group_id=submitted["task_group_id"]
)
futures = executor.reload_tasks()
sys.stdout.write(json.dumps(sorted(future.result(20) for future in futures)) + "\n")
executor.shutdown(wait=False, cancel_futures=True)
