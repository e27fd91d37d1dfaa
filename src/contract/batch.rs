//! A batch: what one call carries.

use std::sync::Arc;

use super::{GroupKey, InstanceId};

/// The API's own limit of ids in one `ReleaseInstance` call (its documentation of `InstanceIds`).
pub const MAX_IDS_PER_CALL: usize = 100;

/// 1 to 100 different ids of one group.
#[derive(Debug, Clone)]
pub struct Batch {
    group: Arc<GroupKey>,
    ids: Vec<InstanceId>,
}

/// A batch would be empty or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch holds 1 to {MAX_IDS_PER_CALL} ids, not {0}")]
pub struct BatchSizeError(pub usize);

impl Batch {
    /// Seals ids into a batch.
    pub fn new(group: Arc<GroupKey>, ids: Vec<InstanceId>) -> Result<Self, BatchSizeError> {
        if (1..=MAX_IDS_PER_CALL).contains(&ids.len()) {
            Ok(Self { group, ids })
        } else {
            Err(BatchSizeError(ids.len()))
        }
    }

    pub fn group(&self) -> &Arc<GroupKey> {
        &self.group
    }

    pub fn ids(&self) -> &[InstanceId] {
        &self.ids
    }

    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.ids.len()
    }
}
