//! What a server starts, where its secrets go, and who comes to use it: said by nobody who may only change documents.

use std::collections::BTreeSet;

use hayward_api::kinds::find;
use hayward_api::kinds::rbac::Operation;
use hayward_api::kinds::server::{check_name, handed, program};
use hayward_api::{Code, Error};
use hayward_store::{Desired, StoreError};
use serde_json::Value;

use super::allowed::Allowed;
use super::change::Change;

/// The kind of which some start programs on this machine.
pub(super) const SERVER: &str = "server";
/// The kind by which servers come to be used.
pub(super) const PROJECT: &str = "project";
/// The server that is this machine.
const HOST: &str = "host";
/// How somebody comes to be allowed to say what starts.
const GRANT_COMMANDS: &str = "an administrator can grant it with an rbac resource that binds `role: run` to \
                              `action: define-commands`; a server with an `externalUrl` needs it for \
                              `healthCheck` only";
/// How somebody comes to be allowed to say what takes less.
const GRANT_TIERS: &str = "a lower tier lets tokens call it that may not: an administrator can grant saying so with an rbac \
                           resource that binds `role: run` to `action: define-commands`";
/// How somebody comes to be allowed to see a secret.
const GRANT_SECRET: &str = "whoever says where a server's secrets go is somebody who may see them: an administrator can \
                            grant it with an rbac resource that binds `role: view` to `resource: secrets`";

impl Change {
    /// What starts can do whatever the daemon lets its instances do, what is called to see whether it is well is seen by
    /// nobody, and what is handed a secret may hand it on.
    pub(super) fn check_server(
        &self,
        allowed: &Allowed,
        desired: &Desired<'_>,
        before: Option<&Value>,
    ) -> Result<(), StoreError> {
        if desired.kind.name != SERVER {
            return Ok(());
        }
        check_name(desired.name, &desired.spec).map_err(StoreError::Invalid)?;
        self.check_program(allowed, desired, before)?;
        self.check_probe(allowed, desired, before)?;
        self.check_mounts(allowed, desired, before)?;
        self.check_trust(allowed, desired, before)?;
        let of = |spec: &Value| spec.get("tools").cloned();
        let (was, is) = (before.and_then(of), of(&desired.spec));
        let unsaid = u8::from(trust(&desired.spec) > 0);
        let mut loosened = Loosened::of((was.as_ref(), 1), (is.as_ref(), unsaid));
        // Whoever declares a server says what its calls are, but for who may make them: grants go by its name, which is used again.
        loosened.is_anything &= before.is_some();
        self.check_tools(allowed, desired.name, loosened)?;
        match before {
            Some(before) if handed(before) != handed(&desired.spec) => self.check_handed(allowed, desired),
            _ => Ok(()),
        }
    }

    fn check_program(
        &self,
        allowed: &Allowed,
        desired: &Desired<'_>,
        before: Option<&Value>,
    ) -> Result<(), StoreError> {
        let wanted = program(&desired.spec);
        if wanted.is_none() || wanted == before.and_then(program) {
            return Ok(());
        }
        let Err(denied) = self.guarded.operation(allowed.caller(), Operation::DefineCommands) else {
            return Ok(());
        };
        let message = format!("not permitted to say what is started or called for server `{}`", desired.name);
        Err(StoreError::Invalid(Error { message, ..denied.error }.with_hint(GRANT_COMMANDS)))
    }

    /// A tool that is called again and again to see whether a server is well is called for whoever says so.
    fn check_probe(
        &self,
        allowed: &Allowed,
        desired: &Desired<'_>,
        before: Option<&Value>,
    ) -> Result<(), StoreError> {
        let probe = |spec: &Value| {
            let check = spec.get("healthCheck")?;
            Some((check.get("tool")?.clone(), check.get("arguments").cloned()))
        };
        let wanted = probe(&desired.spec);
        if wanted.is_none() || wanted == before.and_then(probe) {
            return Ok(());
        }
        self.check_runs(allowed, desired.name, "healthCheck.tool")
    }

    /// What a server sees of this machine is given by somebody who may use that.
    fn check_mounts(
        &self,
        allowed: &Allowed,
        desired: &Desired<'_>,
        before: Option<&Value>,
    ) -> Result<(), StoreError> {
        // Another program would have them as well.
        let is_same = before.is_some_and(|before| program(before) == program(&desired.spec));
        if desired.spec.get("mounts").is_none() || is_same {
            return Ok(());
        }
        self.check_runs(allowed, HOST, "mounts")
    }

    /// What is otherwise for tools decides who may call them, and with what: whoever says so may do it.
    fn check_tools(
        &self,
        allowed: &Allowed,
        server: &str,
        Loosened { is_anything, is_tier }: Loosened,
    ) -> Result<(), StoreError> {
        if is_anything {
            self.check_runs(allowed, server, "tools")?;
        }
        if is_tier { self.check_tiers(allowed, server, "tools") } else { Ok(()) }
    }

    fn check_tiers(&self, allowed: &Allowed, server: &str, field: &str) -> Result<(), StoreError> {
        let Err(denied) = self.guarded.operation(allowed.caller(), Operation::DefineCommands) else {
            return Ok(());
        };
        let message =
            format!("not permitted to say that tools of server `{server}` are less risky than they were");
        let error = Error { message, ..denied.error }.at(field);
        Err(StoreError::Invalid(error.with_hint(GRANT_TIERS)))
    }

    /// What a server changes of its tools counts without anybody's approval only if somebody says so who may use them; where it
    /// says by itself which of them are harmless, their tiers are lower.
    fn check_trust(
        &self,
        allowed: &Allowed,
        desired: &Desired<'_>,
        before: Option<&Value>,
    ) -> Result<(), StoreError> {
        let (was, is) = (before.map_or(1, trust), trust(&desired.spec));
        if is >= was {
            return Ok(());
        }
        if before.is_some() {
            self.check_runs(allowed, desired.name, "trust")?;
        }
        if is == 0 { self.check_tiers(allowed, desired.name, "trust") } else { Ok(()) }
    }

    /// Secrets that go elsewhere than before go there for somebody who may see them.
    fn check_handed(&self, allowed: &Allowed, desired: &Desired<'_>) -> Result<(), StoreError> {
        for reference in (desired.kind.references)(&desired.spec) {
            let kind = find(reference.kind)
                .ok_or_else(|| StoreError::Corrupt { detail: reference.kind.to_owned() })?;
            if !self.guarded.sees(allowed.caller(), kind, &reference.name, None) {
                let message = format!(
                    "not permitted to say where server `{}` takes {} `{}`, which you may not see",
                    desired.name, reference.kind, reference.name
                );
                let error = Error::new(Code::Forbidden, message).at(&reference.field);
                return Err(StoreError::Invalid(error.with_hint(GRANT_SECRET)));
            }
        }
        Ok(())
    }

    /// Whoever may use a project may use its servers, so a server comes into it by somebody who may use that.
    pub(super) fn check_attached(
        &self,
        allowed: &Allowed,
        desired: &Desired<'_>,
        before: Option<&Value>,
    ) -> Result<(), StoreError> {
        if desired.kind.name != PROJECT {
            return Ok(());
        }
        let known: Vec<&str> = before.into_iter().flat_map(attached).collect();
        let mut new = attached(&desired.spec).filter(|server| !known.contains(server));
        new.try_for_each(|server| self.check_runs(allowed, server, "servers"))?;
        // Also of servers that are not attached, or not any more: what is said of them counts once they are.
        let named = before.into_iter().chain([&desired.spec]).flat_map(overridden);
        named.collect::<BTreeSet<_>>().into_iter().try_for_each(|server| {
            let tools = |spec: &Value| spec.get("serverOverrides")?.get(server)?.get("tools").cloned();
            let (was, is) = (before.and_then(tools), tools(&desired.spec));
            // A project makes a tool riskier, and never less so than its server does.
            self.check_tools(allowed, server, Loosened::of((was.as_ref(), 0), (is.as_ref(), 0)))
        })
    }

    fn check_runs(&self, allowed: &Allowed, server: &str, field: &str) -> Result<(), StoreError> {
        let Err(denied) = self.guarded.shares(allowed.caller(), server) else { return Ok(()) };
        let hint = format!(
            "it takes the right to use it: an administrator can grant it with an rbac resource that binds \
             `role: run` to `resource: servers` with `name: {server}`"
        );
        Err(StoreError::Invalid(denied.error.at(field).with_hint(hint)))
    }
}

/// What becomes possible by what is said of tools that wasn't before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Loosened {
    /// Something is called otherwise, or seen that wasn't.
    is_anything: bool,
    /// Something takes less than it did.
    is_tier: bool,
}

impl Loosened {
    /// Of two `tools`, by the names of tools, each with what holds where nothing is said: 0 for `read`, 1 for `operate`.
    fn of(
        (before, unsaid_before): (Option<&Value>, u8),
        (after, unsaid_after): (Option<&Value>, u8),
    ) -> Self {
        let said = [before, after].into_iter().flatten().filter_map(Value::as_object);
        said.flat_map(serde_json::Map::keys).fold(Self::default(), |all, name| {
            let member = |said: Option<&Value>, member: &str| said?.get(name)?.get(member).cloned();
            let is_other = |of: &str| member(before, of) != member(after, of);
            let tier = |said, unsaid| match member(said, "tier").as_ref().and_then(Value::as_str) {
                Some("read") => 0,
                Some("operate") => 1,
                Some(_) => 2,
                None => unsaid,
            };
            let is_tier = tier(after, unsaid_after) < tier(before, unsaid_before);
            let is_shown = member(before, "hidden") == Some(true.into()) && is_other("hidden");
            let is_anything = is_tier || is_shown || is_other("fixed") || is_other("defaults");
            Self { is_anything: all.is_anything || is_anything, is_tier: all.is_tier || is_tier }
        })
    }
}

/// How little is taken over from a server without anybody's approval: 0 is all.
fn trust(spec: &Value) -> u8 {
    match spec.get("trust").and_then(Value::as_str) {
        Some("review") => 2,
        Some("follow") => 0,
        _ => 1,
    }
}

/// The servers of whose tools a project says something.
fn overridden(spec: &Value) -> impl Iterator<Item = &str> {
    spec.get("serverOverrides")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(server, _)| server.as_str())
}

/// The servers of a project.
fn attached(spec: &Value) -> impl Iterator<Item = &str> {
    spec.get("servers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn loosened(before: &Value, after: &Value, unsaid: (u8, u8)) -> (bool, bool) {
        let Loosened { is_anything, is_tier } =
            Loosened::of((Some(before), unsaid.0), (Some(after), unsaid.1));
        (is_anything, is_tier)
    }

    #[test]
    fn what_takes_less_than_before_or_is_called_otherwise_is_found() {
        let t = |said: Value| json!({ "t": said });
        let (none, read, operate, danger) = (
            json!({}),
            t(json!({"tier": "read"})),
            t(json!({"tier": "operate"})),
            t(json!({"tier": "danger"})),
        );
        // At a server, by how much it is trusted then.
        for (before, after, unsaid, expect) in [
            (&none, &read, (1, 1), true),
            (&none, &operate, (1, 1), false),
            (&none, &danger, (1, 1), false),
            (&operate, &none, (1, 1), false),
            (&operate, &none, (1, 0), true),
            (&danger, &none, (1, 1), true),
            (&danger, &operate, (1, 1), true),
            (&read, &none, (1, 1), false),
            (&read, &danger, (1, 1), false),
            // In a project, where nothing said is what the server says.
            (&none, &read, (0, 0), false),
            (&none, &operate, (0, 0), false),
            (&operate, &none, (0, 0), true),
            (&danger, &operate, (0, 0), true),
        ] {
            assert_eq!(loosened(before, after, unsaid), (expect, expect), "{before} {after} {unsaid:?}");
        }
        for (before, after, expect) in [
            (t(json!({})), t(json!({"fixed": {"a": 1}})), true),
            (t(json!({"fixed": {"a": 1}})), json!({}), true),
            (t(json!({"defaults": {"a": 1}})), t(json!({"defaults": {"a": 2}})), true),
            (t(json!({"hidden": true})), t(json!({})), true),
            (t(json!({})), t(json!({"hidden": true, "name": "x", "description": "y"})), false),
            (t(json!({"fixed": {"a": 1}})), t(json!({"fixed": {"a": 1}, "timeoutSeconds": 3})), false),
        ] {
            assert_eq!(loosened(&before, &after, (1, 1)), (expect, false), "{before} {after}");
        }
        assert_eq!(Loosened::of((None, 1), (None, 1)), Loosened::default());
    }
}
