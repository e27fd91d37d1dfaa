//! One thing that is wrong, and one thing that nobody could look at.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::Code;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    /// The queue, the account, the setting.
    pub subject: String,
    pub found: String,
    /// The command or the setting that mends it.
    pub mend: String,
}

/// Something that was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NotChecked {
    pub subject: String,
    pub because: String,
    /// How it can be looked at; `None` where nobody could.
    pub mend: Option<String>,
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = serializer.serialize_struct("Finding", 6)?;
        written.serialize_field("Severity", self.code.severity().as_str())?;
        written.serialize_field("Code", self.code.as_str())?;
        written.serialize_field("Subject", &self.subject)?;
        written.serialize_field("Found", &self.found)?;
        written.serialize_field("Why", self.code.why())?;
        written.serialize_field("Mend", &self.mend)?;
        written.end()
    }
}
