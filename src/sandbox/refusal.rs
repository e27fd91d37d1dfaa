//! Calls that are answered with an error: status, code and message, as the gateway and the operations give them.
//!
//! Where the vendor's wording is public it is the vendor's; the source of each code stands where it is raised.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;

use super::accounts::{Key, number_of};
use super::answer::SUCCESS;
use super::policy::Permission;

/// The code of a call above the quota.
pub(super) const THROTTLED: &str = "Throttling.User";

/// A call that is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: Cow<'static, str>,
    pub message: Cow<'static, str>,
    /// Milliseconds to wait, as they are written.
    pub retry_after: Option<String>,
    pub denied: Option<Box<AccessDenied>>,
}

/// What a denial by policy tells of itself (source: RAM's documentation of `AccessDeniedDetail`). The encoded diagnostic
/// message is left out: nobody here could decode it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AccessDenied {
    auth_action: &'static str,
    auth_principal_display_name: String,
    auth_principal_owner_id: String,
    auth_principal_type: &'static str,
    no_permission_type: &'static str,
    policy_type: &'static str,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after: None, denied: None }
    }

    pub(super) fn bad_request(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// `MissingTimestamp` and its wording were seen from the real gateway; the other names are made in the same way.
    pub(super) fn missing(name: &str) -> Self {
        Self::bad_request(format!("Missing{name}"), format!("{name} is mandatory for this action."))
    }

    pub(super) fn invalid(name: &str) -> Self {
        Self::bad_request(format!("Invalid{name}"), format!("The specified {name} is not valid."))
    }

    pub(super) fn throttled(retry_after: Option<Duration>) -> Self {
        let refusal = Self::bad_request(THROTTLED, "Request was denied due to user flow control.");
        let retry_after = retry_after.map(|wait| wait.as_micros().div_ceil(1000).to_string());
        Self { retry_after, ..refusal }
    }

    pub(super) fn no_such_api() -> Self {
        let message = "Specified api is not found, please check your url and method.";
        Self::new(StatusCode::NOT_FOUND, "InvalidApi.NotFound", message)
    }

    /// Judged, as the next two are.
    pub(super) fn unsupported_method() -> Self {
        let message = "This http method is not supported: use POST or GET.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHTTPMethod", message)
    }

    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "InvalidParameter", "The body is too large.")
    }

    /// Nothing was done, and the next attempt may fare better.
    pub(super) fn incomplete_body() -> Self {
        Self { message: "The body did not arrive whole in time.".into(), ..Self::service_unavailable() }
    }

    pub(super) fn concurrent_operate() -> Self {
        let message = "The resource is being operated on by another request.";
        Self::new(StatusCode::OK, "SYSTEM.CONCURRENT_OPERATE", message)
    }

    /// The code of success, and no success.
    pub(super) fn called_success() -> Self {
        Self::new(StatusCode::OK, SUCCESS, "Successful!")
    }

    pub(super) fn inactive_key() -> Self {
        Self::bad_request("InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
    }

    pub(super) fn expired_token() -> Self {
        Self::bad_request("InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
    }

    pub(super) fn internal_error() -> Self {
        let message = "The request processing has failed due to some unknown error.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(super) fn service_unavailable() -> Self {
        let message = "The request has failed due to a temporary failure of the server.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// A RAM user's call that no policy allows.
    pub(super) fn denied(key: &Key, action: &'static str, permission: Permission) -> Self {
        let temporary = key.settings.security_token.is_some();
        let detail = AccessDenied {
            auth_action: action,
            auth_principal_display_name: key.settings.user.clone().unwrap_or_default(),
            auth_principal_owner_id: number_of(&key.account).to_string(),
            auth_principal_type: if temporary { "AssumedRoleUser" } else { "SubUser" },
            no_permission_type: if permission == Permission::ExplicitDeny { "ExplicitDeny" } else { "ImplicitDeny" },
            policy_type: "AccountLevelIdentityBasedPolicy",
        };
        let message = format!("You are not authorized to do this operation. Action: {action}, Resource: *.");
        Self { denied: Some(Box::new(detail)), ..Self::new(StatusCode::FORBIDDEN, "NoPermission", message) }
    }
}
