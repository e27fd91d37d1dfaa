"""Makes calls with the legacy Python SDK, unmodified, and prints what each came to, as the SDK's own types show it.

usage: legacy.py ENDPOINT METHOD < calls.json

Reads a JSON array of calls, with parameters named as the API names them; writes one JSON line for each.
"""

import json
import sys

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import AccessKeyCredential, StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import RpcRequest


def seen(endpoint, method, call):
    key = (call["AccessKeyId"], call["AccessKeySecret"])
    token = call["SecurityToken"]
    credential = AccessKeyCredential(*key) if token is None else StsTokenCredential(*key, token)
    host, port = endpoint.split(":")
    client = AcsClient(region_id="cn-hangzhou", credential=credential, auto_retry=False, port=int(port))
    request = RpcRequest("BssOpenApi", "2017-12-14", call["Action"])
    request.set_endpoint(host)
    request.set_protocol_type("http")
    request.set_method(method)
    for name, value in call["Parameters"].items():
        request.add_query_param(name, value)
    try:
        body = client.do_action_with_exception(request)
    except ServerException as error:
        return {
            "Exception": type(error).__name__,
            "Status": error.get_http_status(),
            "Code": error.get_error_code(),
            "Message": error.get_error_msg(),
            "RequestId": error.get_request_id(),
        }
    return {"Status": 200, "Body": json.loads(body)}


for call in json.load(sys.stdin):
    print(json.dumps(seen(sys.argv[1], sys.argv[2], call)))
