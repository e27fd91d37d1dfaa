//! One call, or one query, beside the loop: whatever happens in it comes back as an answer. It must not know engine or pace.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::api::{Answer, Client, Listing};
use crate::contract::{AccountName, Class, Evidence, GroupKey, ReadBack, Verdict};
use crate::engine::{Call, CallKey, CallKind};
use crate::ops::trace::CallSpan;

/// A call that came back.
pub struct Answered {
    pub account: AccountName,
    pub key: CallKey,
    pub group: Arc<GroupKey>,
    pub ids: usize,
    pub kind: CallKind,
    pub said: Said,
    pub took: Duration,
    pub span: CallSpan,
}

/// What came back.
pub enum Said {
    Verdict(Answer),
    Listing(Listing),
}

/// Makes one call, or one query. Whatever happens in it, even a panic, comes back as an answer.
pub async fn make(client: Arc<Client>, account: AccountName, call: Call, span: CallSpan) -> Answered {
    let started = Instant::now();
    let panicked = || Evidence::words("Panicked", "the call ended in a defect of bulkrelease: please report it");
    let said = match call.kind {
        CallKind::Release { attempt, .. } => {
            let released = AssertUnwindSafe(span.around(client.release(&call.batch, attempt))).catch_unwind().await;
            let unknown = |_| Answer { verdict: Verdict::of(Class::Unknown, panicked()), pause: None };
            let answer = released.unwrap_or_else(unknown);
            span.answered(&answer.verdict);
            Said::Verdict(answer)
        }
        CallKind::ReadBack => {
            let listed = AssertUnwindSafe(span.around(client.query(&call.batch))).catch_unwind().await;
            let nothing = || ReadBack::Failed(Verdict::of(Class::Unknown, panicked()));
            let listing = listed.unwrap_or_else(|_| Listing { read_back: nothing(), pause: None });
            span.read_back(&listing.read_back);
            Said::Listing(listing)
        }
    };
    Answered {
        account,
        key: call.key,
        group: Arc::clone(call.batch.group()),
        ids: call.batch.len(),
        kind: call.kind,
        said,
        took: started.elapsed(),
        span,
    }
}
