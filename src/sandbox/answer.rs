//! What goes back over the wire: a success, or an error's envelope.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::faults::Fault;
use super::inventory::Defect;

/// The code of a call that was carried out.
pub(super) const SUCCESS: &str = "Success";

/// The code of a call above the quota.
pub(super) const THROTTLED: &str = "Throttling.User";

/// A call that is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: Cow<'static, str>,
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(super) fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn throttled(retry_after: Option<Duration>) -> Self {
        let refusal = Self::bad_request(THROTTLED, "Request was denied due to user flow control.");
        Self { retry_after, ..refusal }
    }

    pub(super) fn defect(defect: Defect, named: &[Arc<str>]) -> Self {
        let (code, message) = match defect {
            Defect::Gone => ("ResourceNotExists", "The specified resource does not exist."),
            Defect::Foreign => ("InvalidOwner", "The specified resource does not belong to this account."),
            Defect::Locked => ("ResourceStatusError", "The status of the specified resource does not allow this."),
        };
        if named.is_empty() {
            return Self::bad_request(code, message);
        }
        let ids = named.join(", ");
        Self::bad_request(code, format!("{message} InstanceIds: {ids}"))
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::ServiceUnavailable | Fault::Hang => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The request has failed due to a temporary failure of the server.",
            ),
            Fault::InternalError | Fault::GhostError | Fault::GhostHang => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "The request processing has failed due to some unknown error.",
            ),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SuccessBody<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    success: bool,
    data: SuccessData<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SuccessData<'a> {
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
}

/// The answer to a call, as the host that was asked.
pub(super) fn render(result: &Result<(), Refusal>, host: &str) -> Response {
    let mut buffer = Uuid::encode_buffer();
    let request_id: &str = Uuid::new_v4().hyphenated().encode_upper(&mut buffer);
    match result {
        Ok(()) => json(
            StatusCode::OK,
            &SuccessBody {
                code: SUCCESS,
                message: "Successful!",
                request_id,
                success: true,
                data: SuccessData { release_result: true, host_id: host },
            },
        ),
        Err(refusal) => {
            let Refusal { status, code, message, retry_after } = refusal;
            let recommend =
                format!("https://api.aliyun.com/troubleshoot?q={code}&product=BssOpenApi&requestId={request_id}");
            let mut response = json(*status, &ErrorBody { request_id, host_id: host, code, message, recommend });
            if let Some(wait) = retry_after {
                let millis = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
                response.headers_mut().insert("x-acs-retry-after", HeaderValue::from(millis));
            }
            response
        }
    }
}

/// A value as a JSON response.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    response
}
