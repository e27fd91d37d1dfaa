// Makes calls with the official Node SDK, unmodified, and prints what each came to, as the SDK's own types show it.
//
// usage: node client.js ENDPOINT < calls.json
//
// Reads a JSON array of calls, with parameters named as the API names them; writes one JSON line for each.

'use strict';

const { readFileSync } = require('node:fs');
const sdk = require('@alicloud/bssopenapi20171214');
const { $OpenApiUtil } = require('@alicloud/openapi-core');
const { RuntimeOptions } = require('@darabonba/typescript');

const OPERATIONS = {
  ReleaseInstance: [sdk.ReleaseInstanceRequest, 'releaseInstanceWithOptions'],
  QueryAvailableInstances: [sdk.QueryAvailableInstancesRequest, 'queryAvailableInstancesWithOptions'],
};

// The SDK's requests name their fields as the API does, but for the first letter.
const field = ([name, value]) => [name[0].toLowerCase() + name.slice(1), value];

async function seen(endpoint, call) {
  const config = new $OpenApiUtil.Config({
    accessKeyId: call.AccessKeyId,
    accessKeySecret: call.AccessKeySecret,
    securityToken: call.SecurityToken ?? undefined,
    endpoint,
    protocol: 'http',
  });
  const [Request, operation] = OPERATIONS[call.Action];
  const request = new Request(Object.fromEntries(Object.entries(call.Parameters).map(field)));
  try {
    const client = new sdk.default(config);
    const response = await client[operation](request, new RuntimeOptions({ autoretry: false }));
    return { Status: response.statusCode, Body: response.body.toMap() };
  } catch (error) {
    if (error.statusCode === undefined) throw error;
    return {
      Exception: error.name,
      Status: error.statusCode,
      Code: error.code,
      Message: error.message,
      RequestId: error.requestId,
      RetryAfter: error.retryAfter,
      AccessDeniedDetail: error.accessDeniedDetail,
    };
  }
}

(async () => {
  for (const call of JSON.parse(readFileSync(0, 'utf8'))) {
    console.log(JSON.stringify(await seen(process.argv[2], call)));
  }
})();
