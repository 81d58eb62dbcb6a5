//! What a server is started with: its environment and headers, with the values of secrets in their places, and what tells one
//! such version of it from another.

use std::collections::HashMap;

use hayward_api::definition::{EnvEntry, SecretRef};
use hayward_api::kinds::server::ServerSpec;
use hayward_store::Values;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Members of a server that change nothing of how its instances run.
const ASIDE: [&str; 10] = [
    "auditLevel",
    "description",
    "idleSeconds",
    "oauth",
    "replicas",
    "sharing",
    "source",
    "timeoutSeconds",
    "tools",
    "trust",
];

/// What is filled in.
pub(super) struct Resolved {
    pub(super) env: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// What tells this from every other one.
    pub(super) version: u64,
}

/// The names of the secrets that a server refers to.
pub(super) fn secrets(spec: &ServerSpec) -> impl Iterator<Item = &str> {
    let entries = spec.env.iter().chain(&spec.headers).filter_map(|entry| entry.value_from.as_ref());
    let client = spec.oauth.as_ref().and_then(|oauth| oauth.client_secret.as_ref());
    entries.chain(client).map(|from| from.secret_ref.name.as_str())
}

/// Fills in the values of secrets, by their names; or says what is missing. `raw` is the spec as it is stored, `granted` says
/// which grant is shown to it: a renewal is none of another kind.
pub(super) fn resolve(
    (uid, raw, spec): (&str, &Value, &ServerSpec),
    secrets: &HashMap<String, Values>,
    granted: Option<&str>,
) -> Result<Resolved, String> {
    let fill = |entries: &[EnvEntry]| -> Result<Vec<(String, String)>, String> {
        entries.iter().map(|entry| Ok((entry.name.clone(), value(entry, secrets)?))).collect()
    };
    let (env, headers) = (fill(&spec.env)?, fill(&spec.headers)?);
    let granted = granted.map(|id| ("oauth".to_owned(), id.to_owned()));
    let version = version(uid, raw, env.iter().chain(&headers).chain(&granted));
    Ok(Resolved { headers: header_map(&headers)?, env, version })
}

fn value(entry: &EnvEntry, secrets: &HashMap<String, Values>) -> Result<String, String> {
    if let Some(value) = &entry.value {
        return Ok(value.clone());
    }
    let Some(from) = &entry.value_from else { return Ok(String::new()) };
    of_secret(&from.secret_ref, secrets)
}

/// The value that stands in a secret.
pub(super) fn of_secret(
    SecretRef { name, key }: &SecretRef,
    secrets: &HashMap<String, Values>,
) -> Result<String, String> {
    let secret =
        secrets.get(name).ok_or_else(|| format!("secret `{name}` is not there, or can't be opened"))?;
    let value = secret.get(key).ok_or_else(|| format!("secret `{name}` has no key `{key}`"))?;
    Ok(value.to_string())
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, String> {
    let pair = |(name, value): &(String, String)| {
        let wrong = || format!("header `{name}` can't be sent: its value is none of a header");
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value))
    };
    headers.iter().map(pair).collect()
}

/// A number that is another one whenever an instance would run otherwise.
fn version<'a>(uid: &str, raw: &Value, values: impl Iterator<Item = &'a (String, String)>) -> u64 {
    let mut digest = blake3::Hasher::new();
    let mut part = |text: &str| {
        digest.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        digest.update(text.as_bytes());
    };
    part(uid);
    for (member, value) in
        raw.as_object().into_iter().flatten().filter(|(member, _)| !ASIDE.contains(&&***member))
    {
        part(member);
        part(&value.to_string());
    }
    for (name, value) in values {
        part(name);
        part(value);
    }
    let mut version = [0; 8];
    digest.finalize_xof().fill(&mut version);
    u64::from_le_bytes(version)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;

    fn resolved(more: &Value, secret: Option<(&str, &str)>) -> Result<Resolved, String> {
        let mut raw = json!({"command": ["x"], "replicas": 1});
        raw.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let spec: ServerSpec = serde_json::from_value(raw.clone()).unwrap();
        let values = |(key, value): (&str, &str)| {
            let values = Values::from([(key.to_owned(), Zeroizing::new(value.to_owned()))]);
            ("s".to_owned(), values)
        };
        resolve(("u", &raw, &spec), &secret.map(values).into_iter().collect(), None)
    }

    fn env() -> Value {
        json!({"env": [
            {"name": "A", "value": "plain"},
            {"name": "B", "valueFrom": {"secretRef": {"name": "s", "key": "k"}}}]})
    }

    #[test]
    fn values_stand_in_their_places_or_it_is_said_what_is_missing() {
        let found = resolved(&env(), Some(("k", "v"))).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found.env, [pair("A", "plain"), pair("B", "v")]);
        assert_eq!(resolved(&env(), None).err().unwrap(), "secret `s` is not there, or can't be opened");
        assert_eq!(resolved(&env(), Some(("other", "v"))).err().unwrap(), "secret `s` has no key `k`");
        let header =
            json!({"headers": [{"name": "X-Key", "valueFrom": {"secretRef": {"name": "s", "key": "k"}}}]});
        let found = resolved(&header, Some(("k", "v"))).unwrap();
        assert!(found.headers["x-key"] == "v" && found.headers["x-key"].is_sensitive());
        assert!(!resolved(&header, Some(("k", "a\nb"))).err().unwrap().contains("a\nb"));
    }

    #[test]
    fn a_version_is_another_one_when_instances_would_run_otherwise_and_only_then() {
        let of = |more: &Value, value| resolved(more, Some(("k", value))).unwrap().version;
        let first = of(&env(), "v");
        assert_eq!(first, of(&env(), "v"));
        assert_ne!(first, of(&env(), "w"));
        let with = |member: &str, value: Value| {
            let mut spec = env();
            spec[member] = value;
            of(&spec, "v")
        };
        for (member, value) in [
            ("replicas", json!(3)),
            ("description", json!("x")),
            ("timeoutSeconds", json!(5)),
            ("tools", json!({"t": {"hidden": true}})),
        ] {
            assert_eq!(first, with(member, value), "{member}");
        }
        for (member, value) in [
            ("args", json!(["x"])),
            ("resources", json!({"memoryMib": 64})),
            ("healthCheck", json!({})),
            ("env", json!([])),
            ("era", json!("legacy")),
        ] {
            assert_ne!(first, with(member, value), "{member}");
        }
    }
}
