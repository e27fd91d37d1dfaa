//! What is said to a caller, and the JSON that says it. It must not know how the JSON then fares on the wire.

use axum::http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use super::operations::Page;
use super::refusal::{AccessDenied, Refusal};

/// The code of a call that was carried out.
pub(super) const SUCCESS: &str = "Success";

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// HTTP 200, and the body says that it was done.
    Done { code: &'static str, data: Data },
    /// With HTTP 200, the body says that it failed.
    Refused(Refusal),
}

/// What an operation gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// Of a release: whether it succeeded.
    Released(bool),
    /// Of a query.
    Listed(Page),
}

impl Reply {
    pub(super) fn released(release_result: bool) -> Self {
        Self::Done { code: SUCCESS, data: Data::Released(release_result) }
    }

    pub(super) fn listed(page: Page) -> Self {
        Self::Done { code: SUCCESS, data: Data::Listed(page) }
    }

    pub(super) fn code(&self) -> &str {
        match self {
            Self::Done { code, .. } => code,
            Self::Refused(refusal) => &refusal.code,
        }
    }
}

impl From<Result<Reply, Refusal>> for Reply {
    fn from(result: Result<Reply, Refusal>) -> Self {
        result.unwrap_or_else(Self::Refused)
    }
}

/// An answer as it is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// Milliseconds, as they are to be written.
    pub retry_after: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a, Data> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReleaseData<'a> {
    release_result: bool,
    host_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody<'a> {
    request_id: &'a str,
    host_id: &'a str,
    code: &'a str,
    message: &'a str,
    recommend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_denied_detail: Option<&'a AccessDenied>,
}

impl Envelope {
    /// The answer, as the host that was asked.
    pub(super) fn of(reply: &Reply, request_id: Uuid, host: &str) -> Self {
        let mut buffer = Uuid::encode_buffer();
        let request_id: &str = request_id.hyphenated().encode_upper(&mut buffer);
        match reply {
            Reply::Done { code, data: Data::Released(release_result) } => {
                let data = Some(ReleaseData { release_result: *release_result, host_id: host });
                Self::ok(&Body { code, message: "Successful!", request_id, success: true, data })
            }
            Reply::Done { code, data: Data::Listed(page) } => {
                Self::ok(&Body { code, message: "Successful!", request_id, success: true, data: Some(page) })
            }
            Reply::Refused(Refusal { status: StatusCode::OK, code, message, retry_after, .. }) => {
                let body = Body { code, message, request_id, success: false, data: None::<()> };
                Self { retry_after: retry_after.clone(), ..Self::ok(&body) }
            }
            Reply::Refused(Refusal { status, code, message, retry_after, denied }) => {
                let recommend =
                    format!("https://api.aliyun.com/troubleshoot?q={code}&product=BssOpenApi&requestId={request_id}");
                let access_denied_detail = denied.as_deref();
                let error = ErrorBody { request_id, host_id: host, code, message, recommend, access_denied_detail };
                Self { retry_after: retry_after.clone(), ..Self::json(*status, &error) }
            }
        }
    }

    fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status, body, retry_after: None },
            Err(error) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self { status, body: error.to_string().into_bytes(), retry_after: None }
            }
        }
    }
}
