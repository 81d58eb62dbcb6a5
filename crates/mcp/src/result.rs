//! Results, and what each era adds to them.

use crate::abilities::TASKS_EXTENSION;
use crate::era::{Era, Revision};
use crate::json::{Object, ObjectWriter, Raw};
use crate::request::List;

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

/// The members that say who may keep a result.
const CACHE_KEYS: [&str; 2] = ["ttlMs", "cacheScope"];

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

    /// What a result says itself, as far as this allows it.
    fn of(self, result: &Object) -> Self {
        let ttl_ms = result.get("ttlMs").and_then(|raw| raw.view().ok()).unwrap_or(self.ttl_ms);
        let is_private = result.get_str("cacheScope").is_some_and(|scope| scope != "public");
        Self { ttl_ms, is_public: self.is_public && !is_private }
    }

    fn write(self, object: ObjectWriter) -> ObjectWriter {
        let scope = if self.is_public { "public" } else { "private" };
        object.int("ttlMs", self.ttl_ms.into()).str("cacheScope", scope)
    }
}

/// What a server has to offer beside tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Resources or templates, which can be subscribed to.
    pub resources: bool,
    /// Prompts.
    pub prompts: bool,
    /// Calls that a client may ask for later.
    pub tasks: bool,
}

/// What we can do. Lists can change while we run, and whoever wants to is told.
fn capabilities(offers: Offers, era: Era) -> Raw {
    let changing = || ObjectWriter::new(24).bool("listChanged", true).end();
    let mut object = ObjectWriter::new(256).raw("logging", &Raw::empty_object()).raw("tools", &changing());
    if offers.resources {
        let resources = ObjectWriter::new(48).bool("subscribe", true).bool("listChanged", true).end();
        object = object.raw("resources", &resources);
    }
    if offers.prompts {
        object = object.raw("prompts", &changing());
    }
    if offers.prompts || offers.resources {
        object = object.raw("completions", &Raw::empty_object());
    }
    if offers.tasks && era == Era::Modern {
        let extensions = ObjectWriter::new(48).raw(TASKS_EXTENSION, &Raw::empty_object()).end();
        object = object.raw("extensions", &extensions);
    }
    object.end()
}

/// The result of `initialize`.
pub fn initialize(identity: &Identity, offers: Offers, revision: Revision) -> Raw {
    ObjectWriter::new(384 + identity.instructions.len())
        .str("protocolVersion", revision.as_str())
        .raw("capabilities", &capabilities(offers, Era::Legacy))
        .raw("serverInfo", &identity.info())
        .str("instructions", &identity.instructions)
        .end()
}

/// The result of `server/discover`.
pub fn discover(identity: &Identity, offers: Offers) -> Raw {
    let meta = ObjectWriter::new(120).raw("io.modelcontextprotocol/serverInfo", &identity.info()).end();
    let object = ObjectWriter::new(640 + identity.instructions.len())
        .str("resultType", "complete")
        .raw("supportedVersions", &Revision::modern_names())
        .raw("capabilities", &capabilities(offers, Era::Modern))
        .str("instructions", &identity.instructions);
    CacheHint::PRIVATE.write(object).raw("_meta", &meta).end()
}

/// The result that is a list: all of it on one page. What is listed depends on who asks.
pub fn list(era: Era, list: List, definitions: &Raw) -> Raw {
    let key = list.key();
    let object = ObjectWriter::new(definitions.as_bytes().len() + 80);
    match era {
        Era::Legacy => object.raw(key, definitions).end(),
        Era::Modern => {
            CacheHint::PRIVATE.write(object.str("resultType", "complete")).raw(key, definitions).end()
        }
    }
}

/// The result of `resources/read`: modern says who may keep it, and for how long. It may say the latter
/// itself, and that nobody else may keep it; never that everybody may.
pub fn contents(era: Era, result: Raw, hint: CacheHint) -> Raw {
    let (result, hint) = match Object::of(&result).filter(|own| CACHE_KEYS.iter().any(|key| own.has(key))) {
        Some(own) => (without(&own, &CACHE_KEYS, 256), hint.of(&own)),
        None => (result, hint),
    };
    let complete = complete(era, result);
    if era == Era::Legacy {
        return complete;
    }
    hint.write(ObjectWriter::new(complete.as_bytes().len() + 48)).splice(&complete).end()
}

/// The same without these members.
fn without(result: &Object, keys: &[&str], capacity: usize) -> Raw {
    let members = result.iter().filter(|member| !keys.iter().any(|key| member.is(key)));
    members.fold(ObjectWriter::new(capacity), ObjectWriter::member).end()
}

/// A result that neither era caches: modern adds `resultType` unless it has one already, and legacy knows none.
pub fn complete(era: Era, result: Raw) -> Raw {
    let typed = Object::of(&result).filter(|object| object.has("resultType"));
    match (era, typed) {
        (Era::Legacy, None) | (Era::Modern, Some(_)) => return result,
        (Era::Legacy, Some(object)) => return without(&object, &["resultType"], result.as_bytes().len()),
        (Era::Modern, None) => {}
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
        let read = Raw::of(&json!({"contents": []})).unwrap();
        for raw in [
            discover(&identity(), Offers::default()),
            list(Era::Modern, List::Tools, &Raw::of(&[1]).unwrap()),
            contents(Era::Modern, read, CacheHint::PRIVATE),
        ] {
            let value: Value = raw.view().unwrap();
            assert_eq!(value["resultType"], "complete");
            assert_eq!((value["ttlMs"].clone(), value["cacheScope"].clone()), (json!(0), json!("private")));
        }
        let call: Value = complete(Era::Modern, Raw::of(&json!({"content": []})).unwrap()).view().unwrap();
        assert_eq!(call, json!({"resultType": "complete", "content": []}));
    }

    #[test]
    fn legacy_results_carry_nothing_that_is_modern() {
        let list: Value = list(Era::Legacy, List::Tools, &Raw::of(&[1]).unwrap()).view().unwrap();
        assert_eq!(list, json!({"tools": [1]}));
        let result = Raw::of(&json!({"content": []})).unwrap();
        assert_eq!(complete(Era::Legacy, result.clone()), result);
        let modern = Raw::of(&json!({"content": [], "resultType": "complete"})).unwrap();
        assert_eq!(complete(Era::Legacy, modern.clone()), result);
        let read = Raw::of(&json!({"contents": [], "resultType": "complete", "ttlMs": 1})).unwrap();
        assert_eq!(contents(Era::Legacy, read, CacheHint::PRIVATE).as_str(), r#"{"contents":[]}"#);
        assert_eq!(contents(Era::Legacy, result.clone(), CacheHint::PRIVATE), result);
    }

    #[test]
    fn a_result_type_of_another_kind_is_left_alone() {
        let result = Raw::of(&json!({"resultType": "task", "x": 1})).unwrap();
        assert_eq!(complete(Era::Modern, result.clone()), result);
    }

    #[test]
    fn discover_offers_modern_revisions_only() {
        let value: Value = discover(&identity(), Offers::default()).view().unwrap();
        assert_eq!(value["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!(value["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "n");
    }

    #[test]
    fn what_is_offered_is_declared_and_nothing_else() {
        let all = Offers { resources: true, prompts: true, tasks: true };
        let value: Value = discover(&identity(), all).view().unwrap();
        let declared = &value["capabilities"];
        assert_eq!(declared["resources"], json!({"subscribe": true, "listChanged": true}));
        assert_eq!(declared["extensions"], json!({"io.modelcontextprotocol/tasks": {}}));
        assert_eq!(declared["completions"], json!({}));
        let value: Value = initialize(&identity(), all, Revision::NEWEST_LEGACY).view().unwrap();
        assert!(value["capabilities"].get("extensions").is_none(), "an extension of the modern era");
        let value: Value = discover(&identity(), Offers::default()).view().unwrap();
        assert_eq!(value["capabilities"], json!({"logging": {}, "tools": {"listChanged": true}}));
    }

    #[test]
    fn a_resource_may_say_how_long_it_stays_true_and_never_that_everybody_may_keep_it() {
        let public = CacheHint { ttl_ms: 7, is_public: true };
        for (own, hint, ttl_ms, scope) in [
            (json!({"ttlMs": 5, "cacheScope": "public"}), CacheHint::PRIVATE, 5, "private"),
            (json!({"cacheScope": "public"}), CacheHint::PRIVATE, 0, "private"),
            (json!({"ttlMs": 5}), public, 5, "public"),
            (json!({"cacheScope": "private"}), public, 7, "private"),
            (json!({"ttlMs": -5, "cacheScope": 1}), public, 7, "public"),
            (json!({}), public, 7, "public"),
        ] {
            let result = || {
                let object = ObjectWriter::new(64).raw("contents", &Raw::of(&[1]).unwrap());
                object.splice(&Raw::of(&own).unwrap()).end()
            };
            // Parsing refuses a member that stands twice.
            let modern = contents(Era::Modern, result(), hint).as_str().to_owned();
            let modern: Value = Raw::parse(modern, crate::limits::JSON).unwrap().view().unwrap();
            let expected =
                json!({"resultType": "complete", "ttlMs": ttl_ms, "cacheScope": scope, "contents": [1]});
            assert_eq!(modern, expected, "{own}");
            assert_eq!(contents(Era::Legacy, result(), hint).as_str(), r#"{"contents":[1]}"#, "{own}");
        }
    }
}
