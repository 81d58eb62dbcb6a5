//! The query of a request: only what its route knows, each once. What is misspelt is refused and never overlooked, as a
//! selector that isn't seen would select everything.

use hayward_api::error::did_you_mean;

use super::route::Param;
use crate::refusal::Refusal;

/// A query that was checked.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads a query of a route that knows these parameters.
    pub(crate) fn read(text: Option<&str>, known: &[Param]) -> Result<Self, Refusal> {
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            let Some(param) = known.iter().find(|param| param.name == name) else {
                return Err(unknown(&name, known));
            };
            if found.iter().any(|(name, _)| *name == param.name) {
                return Err(Refusal::invalid(format!("`{name}` is there twice")).hint("give it once"));
            }
            found.push((param.name, value.into_owned()));
        }
        Ok(Self(found))
    }

    /// The value of a parameter; none if it isn't there, or is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(bad(name, other, "write `true` or `false`")),
        }
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let number = |text: &str| text.parse().map_err(|_| bad(name, text, "write a whole number"));
        self.get(name).map(number).transpose()
    }

    /// Whether nothing is to be stored.
    pub(crate) fn is_dry_run(&self) -> Result<bool, Refusal> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("server") => Ok(true),
            Some(other) => Err(bad("dryRun", other, "write `server`; `client` is for the command line")),
        }
    }

    /// All of it, for the record.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

fn bad(name: &str, value: &str, hint: &str) -> Refusal {
    Refusal::invalid(format!("`{name}` is `{}`", value.escape_debug())).hint(hint)
}

fn unknown(name: &str, known: &[Param]) -> Refusal {
    let message = format!("`{}` is no parameter of this request", name.escape_debug());
    let names: Vec<&str> = known.iter().map(|param| param.name).collect();
    let refusal = Refusal::invalid(message);
    match did_you_mean(name, names.iter().copied()) {
        Some(meant) => refusal.hint(format!("did you mean `{meant}`?")),
        None if names.is_empty() => refusal.hint("it has none"),
        None => refusal.hint(format!("it has {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Param] =
        &[Param::text("labelSelector", "x"), Param::text("limit", "x"), Param::text("dryRun", "x")];

    #[test]
    fn what_is_misspelt_or_said_twice_is_refused() {
        for (text, hint) in [
            ("labelselector=a", "did you mean `labelSelector`?"),
            ("selector=a", "did you mean `labelSelector`?"),
            ("colour=a", "it has labelSelector, limit, dryRun"),
            ("limit=1&limit=2", "give it once"),
        ] {
            let refused = Query::read(Some(text), KNOWN).unwrap_err();
            assert_eq!(refused.error.hint.as_deref(), Some(hint), "{text}");
        }
        let query = Query::read(Some("labelSelector=a%3Db&limit=7"), KNOWN).unwrap();
        assert_eq!(query.get("labelSelector"), Some("a=b"));
        assert_eq!(query.number("limit").unwrap(), Some(7));
        assert!(!query.is_dry_run().unwrap());
    }

    #[test]
    fn a_dry_run_that_is_no_dry_run_is_refused() {
        for bad in ["true", "Server", "client"] {
            let query = Query::read(Some(&format!("dryRun={bad}")), KNOWN).unwrap();
            assert!(query.is_dry_run().is_err(), "{bad}");
        }
        assert!(Query::read(Some("dryRun=server"), KNOWN).unwrap().is_dry_run().unwrap());
    }
}
