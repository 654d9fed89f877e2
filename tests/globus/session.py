"""What a user of the Globus Compute client does; run by its own Python against a hub service of ours.

Prints one JSON document of what came back.
"""

import json
import logging
import time
import uuid

from globus_compute_sdk import Client
from globus_compute_sdk.errors import TaskExecutionFailed, TaskPending
from globus_compute_sdk.serialize import JSONData, PureSourceTextInspect
from globus_sdk import GlobusAPIError

from funcx_lab.globus import globus_client

logging.disable(logging.CRITICAL)


def add(a, b=1):
    return a + b


def divide(a):
    return 1 / a


def where():
    import sys

    return list(sys.version_info[:2])


def wait(client, task_id):
    deadline = time.monotonic() + 60
    while True:
        try:
            return client.get_result(task_id)
        except TaskPending:
            assert time.monotonic() < deadline, "the task does not end"
            time.sleep(0.05)


def refusal(call):
    try:
        call()
    except GlobusAPIError as err:
        return {"status": err.http_status, "code": err.code, "message": err.message}
    return None


client = globus_client()
assert type(client) is Client
client.version_check()
(endpoint,) = client.get_endpoints()
endpoint_id = endpoint["uuid"]
came = {
    "endpoint": client.get_endpoint_metadata(endpoint_id),
    "status": client.get_endpoint_status(endpoint_id),
}

function_id = client.register_function(add)
task_id = client.run(2, b=3, endpoint_id=endpoint_id, function_id=function_id)
came["sum"] = wait(client, task_id)
came["task"] = client.get_task(task_id)
came["function"] = client.get_function(function_id)
came["python"] = wait(
    client, client.run(endpoint_id=endpoint_id, function_id=client.register_function(where))
)

failing = client.run(0, endpoint_id=endpoint_id, function_id=client.register_function(divide))
try:
    wait(client, failing)
except TaskExecutionFailed as err:
    came["failure"] = str(err)

group_id = str(uuid.uuid4())
batch = client.create_batch(task_group_id=group_id)
for number in range(10):
    batch.add(function_id, args=(number,), kwargs={"b": number})
submitted = client.batch_run(endpoint_id, batch)
task_ids = submitted["tasks"][function_id]
for task_id in task_ids:
    wait(client, task_id)
fresh = globus_client()
results = fresh.get_batch_result(task_ids)
came["batch"] = [results[task_id]["result"] for task_id in task_ids]
came["group"] = submitted["task_group_id"] == group_id
listed = client._compute_web_client.v2.get_task_group(group_id).data
came["task group"] = sorted(task["id"] for task in listed["tasks"]) == sorted(task_ids)

from_source = client.register_source_code("def triple(x):\n    return 3 * x\n", "triple")
came["source"] = wait(client, client.run(14, endpoint_id=endpoint_id, function_id=from_source))

portable = globus_client(
    code_serialization_strategy=PureSourceTextInspect(), data_serialization_strategy=JSONData()
)
portable_id = portable.register_function(add)
came["portable"] = wait(portable, portable.run("a", "b", endpoint_id=endpoint_id, function_id=portable_id))

nobody = str(uuid.uuid4())
came["refusals"] = {
    "endpoint": refusal(lambda: client.run(1, endpoint_id=nobody, function_id=function_id)),
    "function": refusal(lambda: client.run(1, endpoint_id=endpoint_id, function_id=nobody)),
    "task": refusal(lambda: fresh.get_task(nobody)),
    "token": refusal(lambda: globus_client(client.web_service_address, "fxl_wrong").get_endpoints()),
    "size": refusal(lambda: client.run("x" * 11_000_000, endpoint_id=endpoint_id, function_id=function_id)),
}
large = client.run("x" * 1_000_000, b="y", endpoint_id=endpoint_id, function_id=function_id)
came["large"] = len(wait(client, large))
client.delete_function(function_id)
came["deleted"] = refusal(lambda: client.run(1, endpoint_id=endpoint_id, function_id=function_id))
print(json.dumps(came))
