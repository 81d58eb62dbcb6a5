//! What a tool says of itself.

use std::time::Duration;

use hayward_api::names::ToolName;
use hayward_api::{Code, Tier};
use hayward_mcp::json::{ArrayWriter, Object, ObjectWriter, Raw};
use hayward_mcp::result::CacheHint;
use hayward_mcp::uri_template::UriTemplate;

use crate::outcome::ToolError;

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
    /// Whether it runs as a task only, so that a client which can't ask later gets nothing from it.
    pub needs_task: bool,
}

/// Which resources something stands for.
#[derive(Clone, Debug)]
pub enum ResourceUri {
    /// The one with this URI.
    One(String),
    /// All whose URI the template matches.
    Template(UriTemplate),
}

/// The facts of a resource or of a template.
#[derive(Clone, Debug)]
pub struct ResourceDescriptor {
    /// Which it stands for.
    pub uri: ResourceUri,
    /// The name that programs know it by.
    pub name: String,
    /// A name for people.
    pub title: String,
    /// What it holds, written for a model that reads it cold.
    pub description: String,
    /// The media type of what it holds, if that is known.
    pub mime_type: Option<String>,
    /// How risky it is to read.
    pub tier: Tier,
    /// How long reading may take at most.
    pub timeout: Duration,
    /// Who may keep what was read, and for how long.
    pub cache: CacheHint,
}

impl ResourceDescriptor {
    /// Its element of `resources/list` or of `resources/templates/list`.
    pub fn definition(&self) -> Raw {
        let object = ObjectWriter::new(512);
        let object = match &self.uri {
            ResourceUri::One(uri) => object.str("uri", uri),
            ResourceUri::Template(template) => object.str("uriTemplate", template.as_str()),
        };
        let object =
            object.str("name", &self.name).str("title", &self.title).str("description", &self.description);
        match &self.mime_type {
            Some(mime_type) => object.str("mimeType", mime_type).end(),
            None => object.end(),
        }
    }

    /// Whether it stands for the resource of this URI.
    pub fn matches(&self, uri: &str) -> bool {
        match &self.uri {
            ResourceUri::One(own) => own == uri,
            ResourceUri::Template(template) => template.matches(uri).is_some(),
        }
    }
}

/// An argument of a prompt; its value is a string.
#[derive(Clone, Debug)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What it means.
    pub description: String,
    /// Whether the prompt can't do without it.
    pub is_required: bool,
}

/// The facts of a prompt.
#[derive(Clone, Debug)]
pub struct PromptDescriptor {
    /// The name that it is asked for by.
    pub name: String,
    /// A name for people.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Its arguments.
    pub arguments: Vec<PromptArgument>,
    /// How risky it is to get.
    pub tier: Tier,
    /// How long getting it may take at most.
    pub timeout: Duration,
}

impl PromptDescriptor {
    /// Whether nothing that it can't do without is missing. What it doesn't know is of no weight.
    ///
    /// # Errors
    /// The names of the arguments that are missing, or no strings.
    pub fn check(&self, arguments: &Raw) -> Result<(), ToolError> {
        let given = Object::of(arguments).unwrap_or_else(Object::empty);
        let is_missing =
            |argument: &&PromptArgument| argument.is_required && given.get_str(&argument.name).is_none();
        let missing: Vec<_> =
            self.arguments.iter().filter(is_missing).map(|it| format!("`{}`", it.name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("the prompt `{}` lacks its required {}", self.name, missing.join(", "));
        Err(ToolError::new("InvalidArguments", Code::Invalid, message)
            .suggest("prompts/list tells what each prompt takes; all of it is strings"))
    }

    /// Its element of `prompts/list`.
    pub fn definition(&self) -> Raw {
        let mut arguments = ArrayWriter::new(256);
        for argument in &self.arguments {
            let object = ObjectWriter::new(128)
                .str("name", &argument.name)
                .str("description", &argument.description)
                .bool("required", argument.is_required);
            arguments.push(&object.end());
        }
        ObjectWriter::new(512)
            .str("name", &self.name)
            .str("title", &self.title)
            .str("description", &self.description)
            .raw("arguments", &arguments.end())
            .end()
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_prompt_names_what_it_lacks_and_lets_pass_what_it_does_not_know() {
        let argument = |name: &str, is_required| PromptArgument {
            name: name.to_owned(),
            description: String::new(),
            is_required,
        };
        let prompt = PromptDescriptor {
            name: "p".to_owned(),
            title: String::new(),
            description: String::new(),
            arguments: vec![argument("a", true), argument("b", true), argument("c", false)],
            tier: Tier::Read,
            timeout: Duration::from_secs(1),
        };
        let check = |arguments| prompt.check(&Raw::of(&arguments).unwrap());
        for good in [json!({"a": "", "b": "2"}), json!({"a": "1", "b": "2", "c": "3", "d": "4"})] {
            assert_eq!(check(good.clone()), Ok(()), "{good}");
        }
        for (bad, named) in [(json!({}), "`a`, `b`"), (json!({"a": "1", "b": 2}), "`b`")] {
            let error = check(bad).unwrap_err();
            assert_eq!(error.kind, Code::Invalid);
            assert!(error.message.ends_with(&format!("required {named}")), "{}", error.message);
        }
    }
}
