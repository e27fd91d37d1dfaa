"""Makes calls with the official Python SDK, unmodified, and prints what each came to, as the SDK's own types show it.

usage: client.py ENDPOINT [SIGNATURE_ALGORITHM] < calls.json

Reads a JSON array of calls, with parameters named as the API names them; writes one JSON line for each.
"""

import json
import sys

from alibabacloud_bssopenapi20171214 import models
from alibabacloud_bssopenapi20171214.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

OPERATIONS = {
    "ReleaseInstance": (models.ReleaseInstanceRequest, Client.release_instance_with_options),
    "QueryAvailableInstances": (models.QueryAvailableInstancesRequest, Client.query_available_instances_with_options),
}


def seen(endpoint, signature_algorithm, call):
    config = Config(
        access_key_id=call["AccessKeyId"],
        access_key_secret=call["AccessKeySecret"],
        security_token=call["SecurityToken"],
        signature_algorithm=signature_algorithm,
        endpoint=endpoint,
        protocol="http",
    )
    new_request, operation = OPERATIONS[call["Action"]]
    request = new_request().from_map(call["Parameters"])
    try:
        response = operation(Client(config), request, RuntimeOptions(autoretry=False))
    except AlibabaCloudException as error:
        return {
            "Exception": type(error).__name__,
            "Status": error.status_code,
            "Code": error.code,
            "Message": error.message,
            "RequestId": error.request_id,
            "RetryAfter": error.retry_after,
            # Only some kinds have it.
            "AccessDeniedDetail": getattr(error, "access_denied_detail", None),
        }
    return {"Status": response.status_code, "Body": response.body.to_map()}


for call in json.load(sys.stdin):
    print(json.dumps(seen(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None, call)))
