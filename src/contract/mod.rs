//! The words that more than one room speaks, and the messages made of them.
//!
//! Everything here is plain data that can only be built valid. It must not know how a message travels (`broker`), how a
//! call is made (`api`) or what is decided (`engine`).

mod account;
mod batch;
mod dead_letter;
mod fingerprint;
mod group;
mod instance_id;
mod job;
mod job_id;
mod message;
mod outcome;
mod place;
mod priority;
mod remainder;
mod result;
mod verdict;

pub use account::AccountName;
pub use batch::{Batch, BatchSizeError, MAX_IDS_PER_CALL};
pub use dead_letter::{BROKER_DELIVERY_LIMIT, DeadLetter, DeadReason, KIND as DEAD_KIND};
pub use fingerprint::fingerprint;
pub use group::{GroupKey, RenewStatus, SubscriptionType, Token};
pub use instance_id::{InstanceId, InvalidInstanceId};
pub use job::{Job, KIND as JOB_KIND, MalformedJob};
pub use job_id::JobId;
pub use message::{Message, Properties, header};
pub use outcome::{Evidence, InstanceOutcome, Outcome};
pub use place::{Doubt, Open, Place};
pub use priority::Priority;
pub use remainder::{KIND as REMAINDER_KIND, Remainder};
pub use result::{Counts, InstanceResult, JobResult, KIND as RESULT_KIND, Status, result_id};
pub use verdict::{Class, LONGEST_PAUSE, ReadBack, Refusal, Verdict};

/// The largest body published in one piece. RabbitMQ 4 takes 16 MiB by default, properties aside.
pub(crate) const MAX_BODY_BYTES: usize = 15 * 1024 * 1024;

/// The most ids that a job may have, whatever the settings say: its result lists every one, and is one message.
pub const MAX_IDS_PER_JOB: usize = 50_000;

/// The queue of jobs, and the fanout exchange through which they come back to it.
pub const JOBS: &str = "release.jobs";
/// The direct exchange of what waits before it goes back to the jobs, and the beginning of its queues' names.
pub const RETRY: &str = "release.retry";
/// The topic exchange, and the queue, of results.
pub const RESULTS: &str = "release.results";
/// The exchange, and the queue, of dead letters.
pub const DEAD: &str = "release.dead";
/// The exchange, and the queue, of dead letters that were discarded and can still be restored.
pub const ARCHIVE: &str = "release.archive";
/// The beginning of the names of a watcher's queues.
pub const WATCH: &str = "release.watch";
/// The fanout exchange of the workers' beacons, and the beginning of their queues' names.
pub const FLEET: &str = "release.fleet";
/// The alternate exchange, and the queue, of what no queue wanted.
pub const UNROUTED: &str = "release.unrouted";
