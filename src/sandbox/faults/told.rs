//! What the caller of a call that is struck is told.

use std::time::Duration;

use axum::http::StatusCode;

use super::super::answer::Reply;
use super::super::call::Action;
use super::super::delivery::{Answer, Foreign, Spoil};
use super::super::operations::Page;
use super::super::refusal::Refusal;
use super::{FaultAnswer, FaultRule};

/// What a throttled caller is told to wait where no quota says it.
const A_SECOND: Duration = Duration::from_secs(1);

/// Source: the sample in the vendor's documentation, which has it with a successful release.
const ODD_CODE: &str = "Invalid_Product_Code";

impl FaultRule {
    /// The answer. `honest` is what the call would be told for what it did, if it did anything.
    pub(in super::super) fn told(&self, honest: Option<Reply>, action: Action, retry_after: bool) -> Answer {
        let refused = |refusal| Answer::Whole(Reply::Refused(refusal));
        let honest = honest.unwrap_or(Reply::Refused(Refusal::internal_error()));
        match self.answer {
            FaultAnswer::Honest | FaultAnswer::Hang => Answer::Whole(honest),
            FaultAnswer::OddCode => Answer::Whole(match honest {
                Reply::Done { data, .. } => Reply::Done { code: ODD_CODE, data },
                Reply::Refused(refusal) => Reply::Refused(refusal),
            }),
            FaultAnswer::Truncated => Answer::Spoilt(honest, Spoil::Half),
            FaultAnswer::SlowBody => Answer::Spoilt(honest, Spoil::Slow(self.hang_for)),
            FaultAnswer::WrongContentType => Answer::Spoilt(honest, Spoil::CalledText),
            FaultAnswer::Error => refused(self.error()),
            FaultAnswer::InternalError => refused(Refusal::internal_error()),
            FaultAnswer::ServiceUnavailable => refused(Refusal::service_unavailable()),
            FaultAnswer::Throttled => refused(Refusal::throttled(retry_after.then_some(A_SECOND))),
            FaultAnswer::TokenExpired => refused(Refusal::expired_token()),
            FaultAnswer::KeyInactive => refused(Refusal::inactive_key()),
            FaultAnswer::ConcurrentOperate => refused(Refusal::concurrent_operate()),
            FaultAnswer::FailureAsSuccess => refused(Refusal::called_success()),
            FaultAnswer::Contradictory => Answer::Whole(match action {
                Action::ReleaseInstance => Reply::released(false),
                Action::QueryAvailableInstances => Reply::listed(Page::contradictory()),
            }),
            FaultAnswer::Reset => Answer::Foreign(Foreign::Reset),
            FaultAnswer::Empty => Answer::Foreign(Foreign::Empty),
            FaultAnswer::Html => Answer::Foreign(Foreign::Html),
            FaultAnswer::HtmlError => Answer::Foreign(Foreign::HtmlError),
            FaultAnswer::Redirect => Answer::Foreign(Foreign::Redirect),
        }
    }

    /// The error that the rule spells out. Checked rules have a status and a code.
    fn error(&self) -> Refusal {
        let internal = Refusal::internal_error();
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(internal.status);
        let code = self.code.clone().map_or(internal.code, Into::into);
        let message = self.message.clone().map_or(internal.message, Into::into);
        Refusal { retry_after: self.retry_after.clone(), ..Refusal::new(status, code, message) }
    }
}
