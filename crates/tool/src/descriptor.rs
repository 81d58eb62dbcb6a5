//! What a tool says of itself.

use std::time::Duration;

use hayward_api::Tier;
use hayward_api::names::ToolName;
use hayward_mcp::json::{ObjectWriter, Raw};

/// The hints of the protocol (`ToolAnnotations`); a client may trust ours, and never a stranger's.
#[expect(clippy::struct_excessive_bools, reason = "the protocol has these four hints, each a boolean")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// Changes nothing.
    pub read_only: bool,
    /// May destroy what was there. Only meaningful if it isn't read-only.
    pub destructive: bool,
    /// Calling it twice has the effect of calling it once.
    pub idempotent: bool,
    /// Deals with things outside of this machine.
    pub open_world: bool,
}

impl Annotations {
    /// A tool that looks only.
    pub const READS: Self = Self { read_only: true, destructive: false, idempotent: true, open_world: false };

    fn to_raw(self, title: &str) -> Raw {
        ObjectWriter::new(160)
            .str("title", title)
            .bool("readOnlyHint", self.read_only)
            .bool("destructiveHint", self.destructive)
            .bool("idempotentHint", self.idempotent)
            .bool("openWorldHint", self.open_world)
            .end()
    }
}

/// The facts of one tool.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// The name that it is called by.
    pub name: ToolName,
    /// A name for people.
    pub title: String,
    /// What it does, written for a model that reads it cold.
    pub description: String,
    /// How risky it is.
    pub tier: Tier,
    /// The hints of the protocol.
    pub annotations: Annotations,
    /// JSON Schema 2020-12 of the arguments: an object.
    pub input_schema: Raw,
    /// JSON Schema 2020-12 of `structuredContent` of a result without error.
    pub output_schema: Option<Raw>,
    /// How long a call may run at most.
    pub timeout: Duration,
}

impl Descriptor {
    /// Its element of `tools/list`.
    pub fn definition(&self) -> Raw {
        let mut object = ObjectWriter::new(1024)
            .str("name", self.name.as_str())
            .str("title", &self.title)
            .str("description", &self.description)
            .raw("inputSchema", &self.input_schema);
        if let Some(schema) = &self.output_schema {
            object = object.raw("outputSchema", schema);
        }
        object.raw("annotations", &self.annotations.to_raw(&self.title)).end()
    }
}
