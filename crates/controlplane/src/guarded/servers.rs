//! What a server starts, where its secrets go, and who comes to use it: said by nobody who may only change documents.

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
        let mounts = |spec: &Value| spec.get("mounts").cloned();
        let wanted = mounts(&desired.spec);
        if wanted.is_none() || wanted == before.and_then(mounts) {
            return Ok(());
        }
        self.check_runs(allowed, HOST, "mounts")
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
        new.try_for_each(|server| self.check_runs(allowed, server, "servers"))
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

/// The servers of a project.
fn attached(spec: &Value) -> impl Iterator<Item = &str> {
    spec.get("servers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
