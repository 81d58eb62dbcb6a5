//! Results, and what each era adds to them.

use crate::era::{Era, Revision};
use crate::json::{ObjectWriter, Raw};

/// Who we are, as clients are told.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name of the server.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What a model should know before it uses any of the tools; clients cut this at about 2 KB.
    pub instructions: String,
}

impl Identity {
    fn info(&self) -> Raw {
        ObjectWriter::new(80).str("name", &self.name).str("version", &self.version).end()
    }
}

/// Who may keep a result, and for how long (2026-07-28, server/utilities/caching).
#[derive(Clone, Copy, Debug)]
pub struct CacheHint {
    /// How long it stays true, in milliseconds; 0: ask again every time.
    pub ttl_ms: u32,
    /// Whether it is the same for everybody. Whatever depends on who asks is not.
    pub is_public: bool,
}

impl CacheHint {
    /// For what depends on who asks and may change at any time.
    pub const PRIVATE: Self = Self { ttl_ms: 0, is_public: false };

    fn write(self, object: ObjectWriter) -> ObjectWriter {
        let scope = if self.is_public { "public" } else { "private" };
        object.int("ttlMs", self.ttl_ms.into()).str("cacheScope", scope)
    }
}

/// What we can do. `listChanged` is false until the list can change while we run.
fn capabilities() -> Raw {
    let tools = ObjectWriter::new(24).bool("listChanged", false).end();
    ObjectWriter::new(64).raw("logging", &Raw::empty_object()).raw("tools", &tools).end()
}

/// The result of `initialize`.
pub fn initialize(identity: &Identity, revision: Revision) -> Raw {
    ObjectWriter::new(256 + identity.instructions.len())
        .str("protocolVersion", revision.as_str())
        .raw("capabilities", &capabilities())
        .raw("serverInfo", &identity.info())
        .str("instructions", &identity.instructions)
        .end()
}

/// The result of `server/discover`.
pub fn discover(identity: &Identity) -> Raw {
    let meta = ObjectWriter::new(120).raw("io.modelcontextprotocol/serverInfo", &identity.info()).end();
    let object = ObjectWriter::new(512 + identity.instructions.len())
        .str("resultType", "complete")
        .raw("supportedVersions", &Revision::modern_names())
        .raw("capabilities", &capabilities())
        .str("instructions", &identity.instructions);
    CacheHint::PRIVATE.write(object).raw("_meta", &meta).end()
}

/// The result of `tools/list`: all of them on one page.
pub fn tools(era: Era, definitions: &Raw) -> Raw {
    let object = ObjectWriter::new(definitions.as_bytes().len() + 80);
    match era {
        Era::Legacy => object.raw("tools", definitions).end(),
        Era::Modern => {
            CacheHint::PRIVATE.write(object.str("resultType", "complete")).raw("tools", definitions).end()
        }
    }
}

/// A result that neither era caches: modern adds `resultType` unless it has one already.
pub fn complete(era: Era, result: Raw) -> Raw {
    let has_type =
        || crate::json::Object::of(&result).is_some_and(|object| object.get("resultType").is_some());
    if era == Era::Legacy || has_type() {
        return result;
    }
    ObjectWriter::new(result.as_bytes().len() + 32).str("resultType", "complete").splice(&result).end()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn identity() -> Identity {
        Identity { name: "n".into(), version: "v".into(), instructions: "i".into() }
    }

    #[test]
    fn modern_results_say_that_they_are_complete_and_who_may_keep_them() {
        for raw in [discover(&identity()), tools(Era::Modern, &Raw::of(&[1]).unwrap())] {
            let value: Value = raw.view().unwrap();
            assert_eq!(value["resultType"], "complete");
            assert_eq!((value["ttlMs"].clone(), value["cacheScope"].clone()), (json!(0), json!("private")));
        }
        let call: Value = complete(Era::Modern, Raw::of(&json!({"content": []})).unwrap()).view().unwrap();
        assert_eq!(call, json!({"resultType": "complete", "content": []}));
    }

    #[test]
    fn legacy_results_carry_nothing_that_is_modern() {
        let list: Value = tools(Era::Legacy, &Raw::of(&[1]).unwrap()).view().unwrap();
        assert_eq!(list, json!({"tools": [1]}));
        let result = Raw::of(&json!({"content": []})).unwrap();
        assert_eq!(complete(Era::Legacy, result.clone()), result);
    }

    #[test]
    fn a_result_type_of_another_kind_is_left_alone() {
        let result = Raw::of(&json!({"resultType": "task", "x": 1})).unwrap();
        assert_eq!(complete(Era::Modern, result.clone()), result);
    }

    #[test]
    fn discover_offers_modern_revisions_only() {
        let value: Value = discover(&identity()).view().unwrap();
        assert_eq!(value["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!(value["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "n");
    }
}
