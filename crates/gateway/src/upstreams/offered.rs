//! One thing that a server offers: a tool, a resource, a template, a prompt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hayward_api::Tier;
use hayward_api::definition::ToolOverride;
use hayward_mcp::json::{ArrayWriter, Object, ObjectWriter, Raw, is_alike};
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::request::List;
use hayward_mcp::uri_template::UriTemplate;
use serde_json::{Map, Value};

/// How many icons of one thing are shown.
const ICONS_MAX: usize = 16;

/// One thing that a server offers, as this gateway shows it.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// On which list it stands.
    pub(crate) list: List,
    /// How its server calls it: a name, a URI, or a template.
    pub(crate) own: Arc<str>,
    /// The name that the administrator gave it.
    pub(crate) renamed: Option<Arc<str>>,
    /// What its server says of it, with what the administrator says instead.
    pub(crate) definition: Raw,
    /// How risky it is.
    pub(crate) tier: Tier,
    /// How long its server may say nothing while it is used.
    pub(crate) timeout: Duration,
    /// Which of its arguments are repeated in headers.
    pub(crate) headers: Arc<ParamHeaders>,
    /// What it stands for, if it is a template.
    pub(crate) template: Option<Arc<UriTemplate>>,
    /// Arguments that every call has.
    pub(crate) fixed: Arc<BTreeMap<String, Value>>,
    /// Arguments that a call has if its caller says nothing else.
    pub(crate) defaults: Arc<BTreeMap<String, Value>>,
}

impl Offered {
    /// A thing of this list, as its server says it; none if it has no name.
    pub(crate) fn of(list: List, definition: &Raw, tier: Tier, timeout: Duration) -> Option<Self> {
        let object = Object::of(definition)?;
        let key = match list {
            List::Tools | List::Prompts => "name",
            List::Resources => "uri",
            List::Templates => "uriTemplate",
        };
        let own: Arc<str> = object.get_str(key).filter(|own| !own.is_empty())?.into();
        let template = match list {
            List::Templates => UriTemplate::parse(&own).ok().map(Arc::new),
            List::Tools | List::Prompts | List::Resources => None,
        };
        let schema = object.get("inputSchema").filter(|_| list == List::Tools);
        let headers = schema.and_then(|schema| ParamHeaders::of(&schema).ok()).unwrap_or_default();
        Some(Self {
            list,
            own,
            renamed: None,
            definition: with_safe_icons(definition).detached(),
            tier,
            timeout,
            headers: Arc::new(headers),
            template,
            fixed: Arc::default(),
            defaults: Arc::default(),
        })
    }

    /// The same with what an administrator says of it; none if it is hidden.
    pub(crate) fn with(mut self, said: Option<&ToolOverride>) -> Option<Self> {
        let Some(said) = said else { return Some(self) };
        if said.hidden {
            return None;
        }
        if let Some(name) = &said.name {
            self.renamed = Some(name.as_str().into());
        }
        if let Some(description) = &said.description {
            self.definition = replaced(&self.definition, "description", &text(description));
        }
        self.tier = said.tier.unwrap_or(self.tier);
        if let Some(seconds) = said.timeout_seconds {
            self.timeout = Duration::from_secs(seconds.into());
        }
        if !said.fixed.is_empty() {
            self.definition = without_arguments(&self.definition, &said.fixed);
            Arc::make_mut(&mut self.fixed).extend(said.fixed.clone());
        }
        Arc::make_mut(&mut self.defaults).extend(said.defaults.clone());
        Some(self)
    }

    /// Its element of a list under this name.
    pub(crate) fn definition_as(&self, name: &str) -> Raw {
        match self.list {
            List::Tools | List::Prompts if name != &*self.own => {
                replaced(&self.definition, "name", &text(name))
            }
            List::Tools | List::Prompts | List::Resources | List::Templates => self.definition.clone(),
        }
    }

    /// The arguments of a call with what the administrator fixed or defaulted.
    pub(crate) fn arguments(&self, said: &Raw) -> Raw {
        let Some(set) = self.set(said) else { return said.clone() };
        let members = Object::of(said).unwrap_or_else(Object::empty);
        let mut object = ObjectWriter::new(said.as_bytes().len() + set.as_bytes().len());
        let is_fixed = |name: &str| self.fixed.keys().any(|fixed| is_alike(name, fixed));
        for member in members.iter().filter(|member| !is_fixed(&member.key())) {
            object = object.member(member);
        }
        object.splice(&set).end()
    }

    /// What the administrator fixed or defaulted of the arguments of a call; none if that is nothing.
    pub(crate) fn set(&self, said: &Raw) -> Option<Raw> {
        if self.fixed.is_empty() && self.defaults.is_empty() {
            return None;
        }
        let members = Object::of(said).unwrap_or_else(Object::empty);
        let unsaid = self.defaults.iter();
        let unsaid = unsaid.filter(|(name, _)| !members.has(name) && !self.fixed.contains_key(*name));
        let mut set =
            unsaid.chain(self.fixed.iter()).filter_map(|(name, value)| Some((name, Raw::of(value).ok()?)));
        let first = set.next()?;
        let object = std::iter::once(first).chain(set);
        Some(object.fold(ObjectWriter::new(128), |object, (name, value)| object.raw(name, &value)).end())
    }

    /// Whether it names an argument of this name.
    pub(crate) fn declares(&self, argument: &str) -> bool {
        let schema = Object::of(&self.definition).and_then(|definition| definition.get_object("inputSchema"));
        schema.and_then(|schema| schema.get_object("properties")).is_some_and(|names| names.has(argument))
    }
}

fn text(text: &str) -> Raw {
    Raw::of(text).unwrap_or_else(|_| Raw::null())
}

/// The same object with another value of one member, which comes first if it wasn't there.
pub(crate) fn replaced(object: &Raw, key: &str, value: &Raw) -> Raw {
    let members = Object::of(object).unwrap_or_else(Object::empty);
    let mut out = ObjectWriter::new(object.as_bytes().len() + value.as_bytes().len());
    if !members.has(key) {
        out = out.raw(key, value);
    }
    for member in members.iter() {
        let own = member.value();
        out = out.raw(&member.key(), if member.is(key) { value } else { &own });
    }
    out.end()
}

/// A definition whose icons are fetched over TLS or lie in it: whoever shows another one would open what its server likes, from
/// a page of a neighbour to a script.
fn with_safe_icons(definition: &Raw) -> Raw {
    let Some(icons) = Object::of(definition).and_then(|definition| definition.get("icons")) else {
        return definition.clone();
    };
    let is_safe = |icon: &Raw| {
        let src = Object::of(icon).and_then(|icon| icon.get_str("src").map(|src| src.to_ascii_lowercase()));
        src.is_some_and(|src| src.starts_with("https://") || src.starts_with("data:image/"))
    };
    let all = icons.elements(ICONS_MAX + 1);
    if !all.is_empty() && all.len() <= ICONS_MAX && all.iter().all(is_safe) {
        return definition.clone();
    }
    let mut safe = ArrayWriter::new(icons.as_bytes().len());
    all.iter().filter(|icon| is_safe(icon)).take(ICONS_MAX).for_each(|icon| safe.push(icon));
    replaced(definition, "icons", &safe.end())
}

/// A definition whose schema doesn't name these arguments.
fn without_arguments(definition: &Raw, names: &BTreeMap<String, Value>) -> Raw {
    let Some(mut schema) = Object::of(definition)
        .and_then(|definition| definition.get("inputSchema"))
        .and_then(|schema| schema.view::<Map<String, Value>>().ok())
    else {
        return definition.clone();
    };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|name, _| !names.contains_key(name));
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| name.as_str().is_none_or(|name| !names.contains_key(name)));
    }
    Raw::of(&schema)
        .map_or_else(|_| definition.clone(), |schema| replaced(definition, "inputSchema", &schema))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(value: &Value) -> Raw {
        Raw::of(value).unwrap()
    }

    fn tool() -> Offered {
        let definition = json!({"x": {"unknown": 1}, "name": "t", "description": "d", "inputSchema": {
            "type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]}});
        Offered::of(List::Tools, &raw(&definition), Tier::Operate, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn another_name_changes_the_name_and_nothing_else() {
        let tool = tool();
        assert_eq!(tool.definition_as("t"), tool.definition);
        let renamed: Value = tool.definition_as("ha_t").view().unwrap();
        let mut expected: Value = tool.definition.view().unwrap();
        expected["name"] = json!("ha_t");
        assert_eq!(renamed, expected);
        assert_eq!(renamed["x"], json!({"unknown": 1}), "what nobody here knows goes along");
    }

    #[test]
    fn what_is_fixed_is_not_shown_and_counts_whatever_a_caller_says() {
        let said = ToolOverride {
            fixed: [("a".to_owned(), json!(1))].into(),
            defaults: [("b".to_owned(), json!(2)), ("c".to_owned(), json!(3))].into(),
            ..ToolOverride::default()
        };
        let tool = tool().with(Some(&said)).unwrap();
        let schema: Value = tool.definition.view::<Value>().unwrap()["inputSchema"].clone();
        assert_eq!((&schema["properties"], &schema["required"]), (&json!({"b": {}}), &json!(["b"])));
        let arguments: Value = tool.arguments(&raw(&json!({"a": 9, "b": 8}))).view().unwrap();
        assert_eq!(arguments, json!({"a": 1, "b": 8, "c": 3}));
    }

    #[test]
    fn what_is_hidden_is_gone_and_what_is_said_replaces_what_the_server_says() {
        let hidden = ToolOverride { hidden: true, ..ToolOverride::default() };
        assert!(tool().with(Some(&hidden)).is_none());
        let said = ToolOverride {
            name: Some("u".to_owned()),
            description: Some("better".to_owned()),
            tier: Some(Tier::Danger),
            timeout_seconds: Some(9),
            ..ToolOverride::default()
        };
        let tool = tool().with(Some(&said)).unwrap();
        assert_eq!(tool.definition.view::<Value>().unwrap()["description"], "better");
        assert_eq!(
            (tool.renamed.as_deref(), tool.tier, tool.timeout.as_secs()),
            (Some("u"), Tier::Danger, 9)
        );
    }

    #[test]
    fn icons_lie_in_it_or_are_fetched_over_tls() {
        let icons = |all: Value| {
            let definition = json!({"name": "t", "inputSchema": {}, "icons": all});
            let offered = Offered::of(List::Tools, &raw(&definition), Tier::Read, Duration::ZERO).unwrap();
            offered.definition.view::<Value>().unwrap()["icons"].clone()
        };
        let good = json!([{"src": "https://x.org/a.png", "sizes": ["48x48"]}, {"src": "data:image/png;base64,AA=="}]);
        assert_eq!(icons(good.clone()), good);
        for bad in
            ["http://192.168.1.1/", "javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", ""]
        {
            assert_eq!(icons(json!([{"src": bad}, good[0]])), json!([good[0]]), "{bad}");
        }
        assert_eq!(icons(json!("https://x.org")), json!([]));
        assert_eq!(icons(json!([{}, 7])), json!([]));
        assert_eq!(icons(vec![good[0].clone(); 40].into()).as_array().unwrap().len(), ICONS_MAX);
    }

    #[test]
    fn every_list_has_its_own_word_for_a_name() {
        for (list, definition, own) in [
            (List::Resources, json!({"uri": "a:b", "name": "n"}), Some("a:b")),
            (List::Templates, json!({"uriTemplate": "a:{x}", "name": "n"}), Some("a:{x}")),
            (List::Prompts, json!({"name": "p"}), Some("p")),
            (List::Resources, json!({"name": "n"}), None),
            (List::Tools, json!({"name": 1}), None),
            (List::Tools, json!([]), None),
        ] {
            let offered = Offered::of(list, &raw(&definition), Tier::Read, Duration::ZERO);
            assert_eq!(offered.as_ref().map(|it| &*it.own), own, "{definition}");
        }
    }
}
