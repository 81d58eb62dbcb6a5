//! Arguments that a modern request repeats in `Mcp-Param-*` headers (MCP 2026-07-28, SEP-2243).
//!
//! A tool asks for it with `x-mcp-header` beside the schema of a property, so that what stands between
//! client and server can route without reading bodies. As with every mirrored header, the body is the
//! truth, and a call whose headers say something else is refused.
//!
//! ```text
//! "region": { "type": "string", "x-mcp-header": "Region" }     the tool's inputSchema
//! "region": "us-west1"          Mcp-Param-Region: us-west1     a call
//! ```
//!
//! What the argument has to be is for the schema check to say; here it only has to be said twice.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName};

use crate::error::RpcError;
use crate::http::{encoded_header, mismatch};
use crate::json::{Object, Raw, scan};
use crate::limits::{JSON, PARAM_HEADERS_MAX, PARAM_INTEGER_MAX};

/// The key that annotates a property.
const ANNOTATION: &str = "x-mcp-header";

/// Which arguments of a tool are mirrored into which headers.
#[derive(Clone, Debug, Default)]
pub struct ParamHeaders {
    root: Node,
}

/// A property whose value is mirrored, or that leads to such ones.
#[derive(Clone, Debug, Default)]
struct Node {
    header: Option<HeaderName>,
    properties: Vec<(String, Node)>,
}

/// Why the annotations of a schema are not valid: clients over HTTP don't list such a tool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamHeaderError {
    /// The annotation is no name that a header can have.
    #[error("`x-mcp-header` of property `{property}` is not the name of a header")]
    Name {
        /// The path of the property.
        property: String,
    },
    /// Two properties want one header; upper and lower case are the same.
    #[error("`x-mcp-header` of property `{property}` names a header that another property has")]
    Twice {
        /// The path of the second one.
        property: String,
    },
    /// Only what has one spelling as text is mirrored.
    #[error("`x-mcp-header` of property `{property}` needs the type `string`, `integer` or `boolean`")]
    Type {
        /// The path of the property.
        property: String,
    },
    /// The annotation is not on a property, or on one that not every call has in the same place.
    #[error("`x-mcp-header` below `{property}` is not reached through `properties` alone")]
    Unreachable {
        /// The path of the closest property that is reached, or `(root)`.
        property: String,
    },
    /// More than fit into a request.
    #[error("more than {PARAM_HEADERS_MAX} properties with `x-mcp-header`")]
    TooMany,
}

impl ParamHeaders {
    /// Reads the annotations of a tool's `inputSchema`.
    pub fn of(input_schema: &Raw) -> Result<Self, ParamHeaderError> {
        if !may_be_annotated(input_schema.as_bytes()) {
            return Ok(Self::default());
        }
        let mut reader = Reader { path: Vec::new(), names: HashSet::new() };
        Ok(Self { root: reader.read(input_schema)? })
    }

    /// Whether no argument is mirrored.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// What a call with these arguments says in headers as well. A value that can't be said there is left out, and it is
    /// for the server to refuse it.
    pub fn of_call(&self, arguments: &Raw) -> Vec<(HeaderName, String)> {
        let mut said = Vec::new();
        self.root.say(Some(arguments), &mut said);
        said
    }

    /// Checks that headers and arguments of a call agree. Other `Mcp-Param-*` headers are of no weight.
    pub fn check(&self, headers: &HeaderMap, arguments: &Raw) -> Result<(), RpcError> {
        self.root.check(headers, Some(arguments))
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.header.is_none() && self.properties.is_empty()
    }

    fn say(&self, value: Option<&Raw>, said: &mut Vec<(HeaderName, String)>) {
        if let Some(name) = &self.header
            && let Some(text) = value.and_then(as_said)
        {
            said.push((name.clone(), text));
        }
        let members = value.filter(|_| !self.properties.is_empty()).and_then(Object::of);
        for (key, node) in self.properties.iter().filter(|_| members.is_some()) {
            node.say(members.as_ref().and_then(|members| members.get(key)).as_ref(), said);
        }
    }

    fn check(&self, headers: &HeaderMap, value: Option<&Raw>) -> Result<(), RpcError> {
        if let Some(name) = &self.header {
            check_one(headers, name, value)?;
        }
        if self.properties.is_empty() {
            return Ok(());
        }
        let members = value.and_then(Object::of);
        self.properties.iter().try_for_each(|(key, node)| {
            let value = members.as_ref().and_then(|members| members.get(key));
            node.check(headers, value.as_ref())
        })
    }
}

fn check_one(headers: &HeaderMap, name: &HeaderName, value: Option<&Raw>) -> Result<(), RpcError> {
    let given = encoded_header(headers, name)?;
    match (given, value.filter(|value| !value.is_null())) {
        (None, None) => Ok(()),
        (Some(given), Some(value)) if is_same(&given, value) => Ok(()),
        (Some(_), Some(_)) => Err(mismatch(name, "differs from the body")),
        (Some(_), None) => Err(mismatch(name, "has no value in the body")),
        (None, Some(_)) => Err(mismatch(name, "is missing")),
    }
}

/// A JSON value as a header says it; none for `null`, and for what can't be said there.
fn as_said(value: &Raw) -> Option<String> {
    match value.as_bytes().first() {
        Some(b'"') => value.text().map(std::borrow::Cow::into_owned),
        Some(b't' | b'f') => Some(value.as_str().to_owned()),
        Some(b'-' | b'0'..=b'9') => integer(value.as_str()).map(|number| number.to_string()),
        _ => None,
    }
}

/// Whether a header says what a JSON value says. Objects and arrays can't be said in a header.
fn is_same(given: &str, value: &Raw) -> bool {
    match value.as_bytes().first() {
        Some(b'"') => value.text().is_some_and(|text| text == given),
        Some(b't' | b'f') => value.as_str() == given,
        Some(b'-' | b'0'..=b'9') => {
            integer(value.as_str()).is_some_and(|number| integer(given) == Some(number))
        }
        _ => false,
    }
}

/// The integer that a JSON number stands for, exactly: `42`, `42.0` and `4.2e1` are one. None for any
/// other text, for fractions, and beyond what JavaScript clients can tell apart.
fn integer(text: &str) -> Option<i64> {
    let starts_as_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if !starts_as_number || scan(text.as_bytes(), JSON).is_err() {
        return None;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: i64 = format!("{whole}{fraction}").parse().ok()?;
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scale = 10_i64.checked_pow(exponent.unsigned_abs())?;
    let number = if exponent >= 0 {
        digits.checked_mul(scale)?
    } else {
        (digits % scale == 0).then_some(digits / scale)?
    };
    (-PARAM_INTEGER_MAX..=PARAM_INTEGER_MAX).contains(&number).then_some(number)
}

/// Nearly no schema has annotations, and this finds out without reading it; an escape may hide one.
fn may_be_annotated(schema: &[u8]) -> bool {
    let has = |needle: &[u8]| memchr::memmem::find(schema, needle).is_some();
    has(ANNOTATION.as_bytes()) || has(b"\\u")
}

/// Walks over a schema. It goes as deep as JSON may nest, which is bounded.
struct Reader {
    /// The properties from the root to where it is.
    path: Vec<String>,
    names: HashSet<HeaderName>,
}

impl Reader {
    /// Reads a schema that `properties` alone lead to.
    fn read(&mut self, schema: &Raw) -> Result<Node, ParamHeaderError> {
        let mut node = Node::default();
        let Some(members) = Object::of(schema) else {
            return Ok(node);
        };
        for member in members.iter() {
            match &*member.key() {
                ANNOTATION => node.header = Some(self.header(&members)?),
                "properties" => node.properties = self.properties(&member.value())?,
                key => self.refuse_below(key, &member.value())?,
            }
        }
        Ok(node)
    }

    fn properties(&mut self, properties: &Raw) -> Result<Vec<(String, Node)>, ParamHeaderError> {
        let mut nodes = Vec::new();
        for member in Object::of(properties).iter().flat_map(Object::iter) {
            self.path.push(member.key().into_owned());
            let node = self.read(&member.value())?;
            self.path.pop();
            if !node.is_empty() {
                nodes.push((member.key().into_owned(), node));
            }
        }
        Ok(nodes)
    }

    /// The header that the schema at hand names.
    fn header(&mut self, schema: &Object) -> Result<HeaderName, ParamHeaderError> {
        let property = self.property();
        if self.path.is_empty() {
            return Err(ParamHeaderError::Unreachable { property });
        }
        let name = schema.get_str(ANNOTATION).filter(|name| !name.is_empty());
        let name = name.and_then(|name| HeaderName::from_bytes(format!("mcp-param-{name}").as_bytes()).ok());
        let Some(name) = name else {
            return Err(ParamHeaderError::Name { property });
        };
        if !matches!(schema.get_str("type").as_deref(), Some("string" | "integer" | "boolean")) {
            return Err(ParamHeaderError::Type { property });
        }
        if !self.names.insert(name.clone()) {
            return Err(ParamHeaderError::Twice { property });
        }
        if self.names.len() > PARAM_HEADERS_MAX {
            return Err(ParamHeaderError::TooMany);
        }
        Ok(name)
    }

    /// Refuses annotations in the schemas below a keyword that leads away from the chain. An unknown
    /// keyword is taken for one with schemas: better to refuse a tool than to miss an annotation.
    fn refuse_below(&self, keyword: &str, value: &Raw) -> Result<(), ParamHeaderError> {
        match keyword {
            // Values, not schemas.
            "default" | "const" | "enum" | "examples" => Ok(()),
            // From names to schemas: the names are no keywords.
            "properties" | "patternProperties" | "dependentSchemas" | "dependentRequired"
            | "dependencies" | "$defs" | "definitions" => {
                let members = Object::of(value);
                members.iter().flat_map(Object::iter).try_for_each(|it| self.refuse_in(&it.value()))
            }
            _ => self.refuse_in(value),
        }
    }

    fn refuse_in(&self, schema: &Raw) -> Result<(), ParamHeaderError> {
        if let Some(members) = Object::of(schema) {
            if members.has(ANNOTATION) {
                return Err(ParamHeaderError::Unreachable { property: self.property() });
            }
            return members.iter().try_for_each(|it| self.refuse_below(&it.key(), &it.value()));
        }
        // No array is what can't be read as one.
        let elements: Vec<Raw> = schema.view().unwrap_or_default();
        elements.iter().try_for_each(|element| self.refuse_in(element))
    }

    /// The path of the property at hand, for a message: the start of it, on one line.
    fn property(&self) -> String {
        if self.path.is_empty() {
            return "(root)".to_owned();
        }
        self.path.join(".").chars().take(80).flat_map(char::escape_debug).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::HEADER_MISMATCH;
    use crate::json::Limits;

    fn raw(text: &str) -> Raw {
        Raw::parse(text.to_owned(), Limits::default()).unwrap()
    }

    fn schema(properties: &str) -> Result<ParamHeaders, ParamHeaderError> {
        ParamHeaders::of(&raw(&format!(r#"{{"type":"object","properties":{{{properties}}}}}"#)))
    }

    fn invalid(properties: &str) -> ParamHeaderError {
        schema(properties).unwrap_err()
    }

    fn annotated(kind: &str, name: &str) -> String {
        format!(r#"{{"type":"{kind}","x-mcp-header":{name}}}"#)
    }

    /// Whether a tool with the argument `a`, mirrored into `A`, accepts a call.
    fn accepts(header: &[&str], arguments: &str) -> bool {
        let headers = header_map(&header.iter().map(|value| ("mcp-param-a", *value)).collect::<Vec<_>>());
        let params = schema(&format!(r#""a":{}"#, annotated("string", r#""A""#))).unwrap();
        match params.check(&headers, &raw(arguments)) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, HEADER_MISMATCH);
                assert!(error.message.contains("`mcp-param-a`"), "{error}");
                false
            }
        }
    }

    fn header_map(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn a_schema_without_annotations_mirrors_nothing() {
        for text in ["{}", "true", "[]", r#"{"type":"object","properties":{"a":{"type":"string"}}}"#] {
            let params = ParamHeaders::of(&raw(text)).unwrap();
            assert!(params.is_empty(), "{text}");
            assert_eq!(params.check(&header_map(&[("mcp-param-a", "x")]), &raw(r#"{"a":"y"}"#)), Ok(()));
        }
    }

    #[test]
    fn the_three_types_with_one_spelling_are_mirrored() {
        for kind in ["string", "integer", "boolean"] {
            assert!(!schema(&format!(r#""a":{}"#, annotated(kind, r#""A""#))).unwrap().is_empty());
        }
        for kind in ["number", "object", "array", "null", "text", ""] {
            let error = invalid(&format!(r#""a":{}"#, annotated(kind, r#""A""#)));
            assert_eq!(error, ParamHeaderError::Type { property: "a".into() }, "{kind}");
        }
        for text in [r#"{"x-mcp-header":"A"}"#, r#"{"type":["string","null"],"x-mcp-header":"A"}"#] {
            assert!(matches!(invalid(&format!(r#""a":{text}"#)), ParamHeaderError::Type { .. }), "{text}");
        }
    }

    #[test]
    fn a_name_is_a_token_of_http() {
        for name in [r#""Region""#, r#""x-1_2.3""#, r#""!#$%&'*+-.^_`|~""#, r#""\u0041""#] {
            assert!(schema(&format!(r#""a":{}"#, annotated("string", name))).is_ok(), "{name}");
        }
        for name in [
            r#""""#,
            r#"" ""#,
            r#""a b""#,
            r#""a:b""#,
            r#""a(b""#,
            r#""ä""#,
            r#""a\r\nb""#,
            r#""a\tb""#,
            r#""\u0000""#,
            r#""a\"b""#,
            "7",
            "null",
            "true",
            "{}",
            r#"["A"]"#,
        ] {
            let error = invalid(&format!(r#""a":{}"#, annotated("string", name)));
            assert_eq!(error, ParamHeaderError::Name { property: "a".into() }, "{name}");
        }
    }

    #[test]
    fn a_header_belongs_to_one_property_whatever_its_case() {
        for (one, other) in [(r#""A""#, r#""A""#), (r#""Region""#, r#""rEGION""#)] {
            let one = annotated("string", one);
            let other = annotated("integer", other);
            let error = invalid(&format!(r#""a":{one},"b":{{"properties":{{"c":{other}}}}}"#));
            assert_eq!(error, ParamHeaderError::Twice { property: "b.c".into() });
        }
        let both = format!(r#""a":{},"b":{}"#, annotated("string", r#""A""#), annotated("string", r#""B""#));
        assert!(schema(&both).is_ok());
    }

    #[test]
    fn annotations_off_the_chain_of_properties_are_refused() {
        let one = annotated("string", r#""A""#);
        for hidden in [
            format!(r#""items":{one}"#),
            format!(r#""prefixItems":[{{}},{one}]"#),
            format!(r#""contains":{{"properties":{{"b":{one}}}}}"#),
            format!(r#""oneOf":[{{"anyOf":[{{"properties":{{"b":{one}}}}}]}}]"#),
            format!(r#""allOf":[{one}]"#),
            format!(r#""not":{one}"#),
            format!(r#""if":{one}"#),
            format!(r#""then":{{"properties":{{"b":{one}}}}}"#),
            format!(r#""else":{one}"#),
            format!(r#""additionalProperties":{one}"#),
            format!(r#""patternProperties":{{"^x":{one}}}"#),
            format!(r#""dependentSchemas":{{"b":{one}}}"#),
            format!(r#""$defs":{{"b":{one}}}"#),
            format!(r#""definitions":{{"default":{one}}}"#),
            format!(r#""x-vendor":{{"deep":[[{one}]]}}"#),
            r#""items":{"\u0078-mcp-header":"A"}"#.to_owned(),
        ] {
            let error = invalid(&format!(r#""a":{{{hidden}}}"#));
            assert_eq!(error, ParamHeaderError::Unreachable { property: "a".into() }, "{hidden}");
            let at_root = ParamHeaders::of(&raw(&format!("{{{hidden}}}"))).unwrap_err();
            assert_eq!(at_root, ParamHeaderError::Unreachable { property: "(root)".into() }, "{hidden}");
        }
        assert!(ParamHeaders::of(&raw(&one)).is_err(), "the root is no property");
    }

    #[test]
    fn names_and_values_that_look_like_annotations_are_none() {
        for harmless in [
            r#""x-mcp-header":{"type":"string"}"#,
            r#""a":{"default":{"x-mcp-header":"A"}}"#,
            r#""a":{"enum":[{"x-mcp-header":"A"}],"const":{"x-mcp-header":"A"}}"#,
            r#""a":{"examples":[{"x-mcp-header":"A"}],"description":"x-mcp-header"}"#,
            r#""a":{"required":["x-mcp-header"],"dependentRequired":{"x-mcp-header":["b"]}}"#,
            r#""a":{"items":{"properties":{"x-mcp-header":{"type":"string"}}}}"#,
        ] {
            assert!(schema(harmless).is_ok_and(|params| params.is_empty()), "{harmless}");
        }
    }

    #[test]
    fn no_more_headers_than_the_limit() {
        let list = |count: usize| {
            let one = |i| format!(r#""p{i}":{}"#, annotated("string", &format!("\"P{i}\"")));
            (0..count).map(one).collect::<Vec<_>>().join(",")
        };
        assert!(schema(&list(PARAM_HEADERS_MAX)).is_ok());
        assert_eq!(invalid(&list(PARAM_HEADERS_MAX + 1)), ParamHeaderError::TooMany);
    }

    #[test]
    fn a_schema_as_deep_as_json_may_be_is_read() {
        let deep = |open: &str, close: &str, times: usize| {
            let inner = annotated("string", r#""A""#);
            format!("{}{inner}{}", open.repeat(times), close.repeat(times))
        };
        let params = ParamHeaders::of(&raw(&deep(r#"{"properties":{"a":"#, "}}", 63))).unwrap();
        let arguments = raw(&format!("{}\"x\"{}", r#"{"a":"#.repeat(63), "}".repeat(63)));
        assert_eq!(params.check(&header_map(&[("mcp-param-a", "x")]), &arguments), Ok(()));
        assert!(params.check(&HeaderMap::new(), &arguments).is_err());
        let error = ParamHeaders::of(&raw(&deep(r#"{"not":["#, "]}", 63))).unwrap_err();
        assert!(matches!(error, ParamHeaderError::Unreachable { .. }));
    }

    #[test]
    fn a_message_shows_the_start_of_a_path_on_one_line() {
        let name = format!("\\n{}", "x".repeat(500));
        let message = invalid(&format!(r#""{name}":{}"#, annotated("number", r#""A""#))).to_string();
        assert!(message.len() < 200 && message.contains(r"`\nxxx") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn header_and_argument_say_the_same() {
        for (header, value) in [
            ("us-west1", r#""us-west1""#),
            ("us west 1", r#""us west 1""#),
            ("  us-west1\t", r#""us-west1""#),
            ("", r#""""#),
            ("é", r#""x""#),
            ("=?base64?SGVsbG8=?=", r#""Hello""#),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", r#""Hello, 世界""#),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", r#""Hello, \u4e16\u754c""#),
            ("=?base64?IHBhZGRlZCA=?=", r#"" padded ""#),
            ("=?base64?bGluZTEKbGluZTI=?=", r#""line1\nline2""#),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", r#""=?base64?literal?=""#),
            ("=?base64??=", r#""""#),
            ("SGVsbG8=", r#""SGVsbG8=""#),
            ("=?base64?SGVsbG8=", r#""=?base64?SGVsbG8=""#),
            ("=?BASE64?SGVsbG8=?=", r#""=?BASE64?SGVsbG8=?=""#),
            ("=?base64?=", r#""=?base64?=""#),
            ("true", "true"),
            ("false", "false"),
            ("=?base64?dHJ1ZQ==?=", "true"),
            ("42", "42"),
        ] {
            let expect = header != "é";
            assert_eq!(accepts(&[header], &format!(r#"{{"a":{value}}}"#)), expect, "{header} {value}");
        }
    }

    #[test]
    fn header_and_argument_that_differ_are_refused() {
        for (header, value) in [
            ("us-west1", r#""us-west2""#),
            ("US-WEST1", r#""us-west1""#),
            ("padded", r#"" padded ""#),
            (" padded ", r#"" padded ""#),
            ("=?base64?SGVsbG8?=", r#""Hello""#),
            ("=?base64?SGVs!!!bG8=?=", r#""Hello""#),
            ("=?base64?SGVsbG9=?=", r#""Hello""#),
            ("=?base64?/w==?=", r#""\u00ff""#),
            ("=?base64?SGVsbG8=?=", r#""=?base64?SGVsbG8=?=""#),
            ("=?BASE64?SGVsbG8=?=", r#""Hello""#),
            ("a, a", r#""a""#),
            ("True", "true"),
            ("false", "true"),
            ("1", "true"),
            ("null", r#""""#),
            ("{}", "{}"),
            ("[1]", "[1]"),
            ("", "[]"),
        ] {
            assert!(!accepts(&[header], &format!(r#"{{"a":{value}}}"#)), "{header} {value}");
        }
    }

    #[test]
    fn integers_are_compared_as_numbers() {
        for (header, value) in [
            ("42.0", "42"),
            ("42", "42.000"),
            ("4.2e1", "42"),
            ("42", "4200E-2"),
            ("1000", "1e+3"),
            ("-7", "-7.0"),
            ("0", "-0"),
            ("-0.0", "0"),
            ("9007199254740991", "9007199254740991"),
            ("-9007199254740991", "-9007199254740991"),
        ] {
            assert!(accepts(&[header], &format!(r#"{{"a":{value}}}"#)), "{header} {value}");
        }
        for (header, value) in [
            ("42", "43"),
            ("-42", "42"),
            ("42.5", "42"),
            ("+42", "42"),
            ("042", "42"),
            ("42.", "42"),
            ("0x2a", "42"),
            ("\"42\"", "42"),
            ("=?base64?IDQy?=", "42"),
            ("42.00000000000000000001", "42"),
            ("3.5", "3.5"),
            ("9007199254740993", "9007199254740992"),
            ("9007199254740992", "9007199254740992"),
            ("1e30", "1e30"),
            ("1e99999999999", "1e99999999999"),
            ("1e-99999999999", "0"),
            ("NaN", "0"),
            ("Infinity", "1e400"),
            ("true", "1"),
            ("42.0", r#""42""#),
        ] {
            assert!(!accepts(&[header], &format!(r#"{{"a":{value}}}"#)), "{header} {value}");
        }
    }

    #[test]
    fn a_header_stands_if_and_only_if_there_is_a_value() {
        for arguments in ["{}", r#"{"a":null}"#, r#"{"b":"x"}"#, r#"{"A":"x"}"#, "[]", "null"] {
            assert!(accepts(&[], arguments), "{arguments}");
            for header in ["x", "", "null", "undefined"] {
                assert!(!accepts(&[header], arguments), "{header} {arguments}");
            }
        }
        for value in [r#""x""#, r#""""#, "0", "false", "{}", "[]"] {
            assert!(!accepts(&[], &format!(r#"{{"a":{value}}}"#)), "{value}");
        }
    }

    #[test]
    fn a_header_that_stands_twice_is_refused() {
        assert!(!accepts(&["x", "x"], r#"{"a":"x"}"#));
        assert!(!accepts(&["x", "y"], r#"{"a":"x"}"#));
        assert!(!accepts(&["x", "x"], "{}"));
    }

    #[test]
    fn nested_arguments_are_found_by_their_exact_path() {
        let one = annotated("string", r#""Where""#);
        let params = schema(&format!(
            r#""a.b":{{"type":"string"}},"a":{{"type":"object","properties":{{"b":{one}}}}}"#
        ))
        .unwrap();
        let given = header_map(&[("Mcp-Param-Where", "x")]);
        for (arguments, with, without) in [
            (r#"{"a":{"b":"x"}}"#, true, false),
            (r#"{"a.b":"y","a":{"b":"x"}}"#, true, false),
            (r#"{"a":{"\u0062":"x"}}"#, true, false),
            (r#"{"a.b":"x"}"#, false, true),
            (r#"{"b":"x"}"#, false, true),
            (r#"{"a":{"b":null}}"#, false, true),
            (r#"{"a":[{"b":"x"}]}"#, false, true),
            (r#"{"a":"x"}"#, false, true),
        ] {
            assert_eq!(params.check(&given, &raw(arguments)).is_ok(), with, "{arguments}");
            assert_eq!(params.check(&HeaderMap::new(), &raw(arguments)).is_ok(), without, "{arguments}");
        }
    }

    #[test]
    fn unknown_headers_are_of_no_weight() {
        let params = schema(&format!(r#""a":{}"#, annotated("string", r#""A""#))).unwrap();
        let given = header_map(&[
            ("mcp-param-a", "x"),
            ("mcp-param-b", "=?base64?!?="),
            ("mcp-param-b", "twice"),
            ("mcp-param-aa", "ä"),
        ]);
        assert_eq!(params.check(&given, &raw(r#"{"a":"x","b":"y"}"#)), Ok(()));
    }
}
