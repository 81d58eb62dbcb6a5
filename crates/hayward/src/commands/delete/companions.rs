//! What goes with a resource that is deleted: with a project, its prompts and prompt requests.

use hayward_api::kinds::{Descriptor, KINDS, Kept, Scope};
use hayward_client::{Client, Selection};
use serde_json::Value;

use crate::documents::{name, shown};
use crate::output::{plain, tell};

/// The kind with which others go.
const PROJECT: &str = "project";

/// What goes with this document, as it is told. It has to be asked before that is gone.
pub(super) async fn of(client: &Client, kind: &Descriptor, document: &Value) -> Vec<String> {
    let mut titles = Vec::new();
    if kind.name != PROJECT {
        return titles;
    }
    let project = name(kind, document);
    for kind in kinds() {
        let selection = Selection { project: Some(project.to_owned()), ..Selection::default() };
        match client.list(kind, &selection).await {
            Ok(listed) => titles.extend(listed.items.iter().map(|item| shown(kind, item))),
            // What isn't there has nothing that goes with it.
            Err(error) if error.code() == hayward_api::Code::NotFound => {}
            Err(error) => {
                tell(&plain(&format!("note: which {} go with project `{project}`: {error}\n", kind.plural)));
            }
        }
    }
    titles
}

/// The kinds of which resources go with their project.
fn kinds() -> impl Iterator<Item = &'static Descriptor> {
    KINDS.iter().copied().filter(|kind| kind.scope != Scope::System && kind.kept == Kept::Stored)
}

#[cfg(test)]
mod tests {
    #[test]
    fn prompts_and_their_requests_go_with_a_project() {
        let mut names: Vec<_> = super::kinds().map(|kind| kind.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["prompt", "promptrequest"]);
    }
}
