//! Nothing lost? Jobs, results, dead letters and the API's own ledger, held against each other. Pure: facts go in, the jobs
//! first, and a report comes out. It must not know where the facts come from.
//!
//! Memory grows with the ids, about a quarter of a kilobyte each, and not with the size of the messages.

mod books;
mod calls;
mod finding;
mod garbage;
mod jobs;
mod judgement;
mod letters;
mod report;
mod results;
#[cfg(test)]
mod tests;

pub use books::Books;
pub use calls::Call;
pub use finding::Finding;
pub use report::{Ended, InstanceReport, JobReport, Report, ResultReport, Summary};
