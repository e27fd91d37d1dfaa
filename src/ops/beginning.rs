//! What is shown before anything has happened: counters at zero, for a rate needs a value to begin from, and an alert would
//! sleep through the first failure.

use std::time::Duration;

use super::Metrics;
use super::events::Postponement;
use crate::api::RELEASE;
use crate::contract::{AccountName, Class, Status};
use crate::engine::SealReason;

const STATUSES: [Status; 6] =
    [Status::Released, Status::Partial, Status::Failed, Status::DryRun, Status::Expired, Status::Invalid];

const CLASSES: [Class; 9] = [
    Class::Released,
    Class::Throttled,
    Class::Transient,
    Class::Unknown,
    Class::Account,
    Class::Request,
    Class::Instance,
    Class::Gone,
    Class::Unlisted,
];

const SEAL_REASONS: [SealReason; 6] =
    [SealReason::Full, SealReason::Linger, SealReason::Idle, SealReason::Overdue, SealReason::Retry, SealReason::Split];

const WHYS: [Postponement; 4] =
    [Postponement::Failed, Postponement::Parked, Postponement::Held(Duration::ZERO), Postponement::Stopping];

impl Metrics {
    /// Of the whole worker.
    pub(super) fn begin(&self) {
        for kind in ["job", "remainder"] {
            for redelivered in ["false", "true"] {
                self.jobs_received.with_label_values(&[kind, redelivered]);
            }
        }
        for status in STATUSES {
            self.jobs_finished.with_label_values(&[status.as_str()]);
        }
        for why in WHYS {
            self.jobs_postponed.with_label_values(&[why.as_str()]);
        }
        for result in ["applied", "refused"] {
            self.settings_reloads.with_label_values(&[result]);
        }
    }

    /// Of an account.
    pub fn begin_account(&self, account: &AccountName) {
        let account = account.as_str();
        for class in CLASSES {
            self.calls.with_label_values(&[account, RELEASE, class.as_str()]);
        }
        for reason in SEAL_REASONS {
            self.batches_sealed.with_label_values(&[account, reason.as_str()]);
        }
        self.fewest_calls.with_label_values(&[account]);
        self.account_held.with_label_values(&[account]);
        self.call_seconds.with_label_values(&[account, RELEASE]);
        for histogram in [&self.batch_instances, &self.batch_wait_seconds, &self.permit_wait_seconds] {
            histogram.with_label_values(&[account]);
        }
    }
}
