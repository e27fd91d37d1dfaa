//! Dead letters, for whoever has to clear them up at three in the morning. `cli::dead` has the verbs; here is what they
//! share, in the order in which a replay needs it:
//!
//! - `letter`: a message of the dead-letter queue, as people speak of it; `selection`: which ones are meant; `groups`:
//!   what died of the same thing; `advice`: what to do about it.
//! - `plan`: a frozen set of letters, with what it would cost; `plan_file`: the same on disk, a `journal` of how far it got.
//! - `mover`: takes the letters of a plan out of a queue and puts what becomes of them elsewhere, each confirmed first, by
//!   its `tally` and no faster than a `rate`.
//! - `replayed`: the job that a letter becomes again; `canary`: listens to what becomes of it, for the `judge`.
//! - `record`: a message as a line of JSON, for export and import; `whole_file`: what is never seen half.
//!
//! It must not know how anything is shown or asked.

pub mod advice;
pub mod canary;
pub mod groups;
pub mod journal;
pub mod judge;
pub mod letter;
pub mod mover;
pub mod plan;
pub mod plan_file;
pub mod rate;
pub mod record;
pub mod replayed;
pub mod selection;
pub mod tally;
pub mod whole_file;
