//! The table of routes: those of every kind, and those that stand for themselves.

mod running;

use std::sync::LazyLock;

use hayward_api::kinds::{Descriptor, KINDS, Kept, MadeBy};
use hayward_auth::{Operation, Verb};
use http::Method;

use crate::rest::{
    apply, attachments, audit, auth, health, history, instances, invites, later, list, projects, prompts,
    single, write,
};
use crate::wire::PREFIX;
use crate::wire::asked::Asked;
use crate::wire::route::{Access, Form, Gives, Handler, Param, Route, Schema, Takes};
use crate::wire::shapes;

/// Every route.
pub static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let kinds = KINDS.iter().flat_map(|kind| match kind.kept {
        Kept::Stored => of_kind(kind),
        Kept::InProjects => of_attachments(kind),
    });
    kinds
        .chain(of_projects())
        .chain(of_prompts())
        .chain(running::of_servers())
        .chain(running::of_instances())
        .chain(running::of_proxy())
        .chain(of_logins())
        .chain(of_the_whole())
        .chain(later::routes())
        .collect()
});

const PROJECT: Param = Param::text("project", "The project that it belongs to.");
const DRY_RUN: Param = Param {
    name: "dryRun",
    about: "`server`: checks and answers as if it were done, and stores nothing.",
    form: Form::Word("server"),
};
const LIST: &[Param] = &[
    PROJECT,
    Param::text("labelSelector", "Only those with these labels, e.g. `app=ha,tier!=test,zone in (a,b)`."),
    Param::text("fieldSelector", "Only those with these members, e.g. `transport=STDIO`."),
    Param::text(
        "fields",
        "Only these members of each, e.g. `transport,createdAt`; its name and its project in any case.",
    ),
    Param::text("serverId", "Only what goes with this server, by its id or name."),
    Param::number("limit", "So many at most; `Link` says how to go on."),
    Param::text("continue", "Where the list before ended."),
    Param::switch("watch", "Goes on with changes, as lines of JSON, until the client leaves."),
    Param::switch(
        "status",
        "A watch tells also where only the status changed, as MODIFIED without a new version.",
    ),
    Param::number("resourceVersion", "Watch from after this version on."),
];
const READ: &[Param] = &[PROJECT];
const READ_SECRET: &[Param] =
    &[PROJECT, Param::text("sealTo", "A public key, `hayward-seal-v1:…`: the values come sealed to it.")];
const WRITE: &[Param] = &[PROJECT, DRY_RUN];
const DELETE: &[Param] =
    &[PROJECT, DRY_RUN, Param::switch("detach", "Takes it out of what refers to it, too.")];
const SESSION: &[Param] = &[Param::text("session", "Pending requests of this session come, too.")];
const ONLY_DRY: &[Param] = &[DRY_RUN];
const APPLY: &[Param] = &[
    DRY_RUN,
    Param::switch("prune", "Deletes what this manager applied earlier and doesn't any more."),
    Param::text("labelSelector", "Bounds what is pruned."),
    Param::text("manager", "Whoever applies; `apply` if nothing is said."),
    PROJECT,
];

/// A route of this kind.
fn route(method: Method, path: String, operation: String, handler: Handler) -> Route {
    Route {
        method,
        path,
        operation,
        summary: String::new(),
        kind: None,
        access: Access::Known,
        query: &[],
        takes: Takes::Nothing,
        gives: Gives::Nothing,
        statuses: &[],
        handler,
    }
}

/// The routes of a kind that is stored.
fn of_kind(kind: &'static Descriptor) -> Vec<Route> {
    let (all, one) = (format!("{PREFIX}/{}", kind.route), format!("{PREFIX}/{}/{{id}}", kind.route));
    let of = |method, path: &str, word: &str, verb, handler| Route {
        kind: Some(kind),
        access: Access::Kind(verb),
        ..route(method, path.to_owned(), format!("{}.{word}", kind.plural), handler)
    };
    let (name, plural) = (kind.name, kind.plural);
    let is_secret = kind.name == "secret";
    let mut routes = vec![
        Route {
            summary: format!("Lists {plural}, or watches them."),
            query: LIST,
            gives: Gives::Documents,
            statuses: &[410],
            ..of(Method::GET, &all, "list", Verb::View, |asked| Box::pin(list::list(asked)))
        },
        Route {
            summary: format!("Shows one {name}, by its id or its name."),
            query: if is_secret { READ_SECRET } else { READ },
            gives: Gives::Document,
            ..of(Method::GET, &one, "get", Verb::View, |asked| Box::pin(single::get(asked)))
        },
        Route {
            summary: format!("Deletes one {name}; one that is built in is as at the beginning again."),
            query: DELETE,
            statuses: &[409, 412],
            ..of(Method::DELETE, &one, "delete", Verb::Delete, |asked| Box::pin(single::delete(asked)))
        },
        Route {
            summary: format!("What happened to one {name}: who, when, before and after."),
            query: READ,
            gives: Gives::Object(200, shapes::history),
            ..of(Method::GET, &format!("{one}/history"), "history", Verb::View, |asked| {
                Box::pin(history::history(asked))
            })
        },
    ];
    if kind.made_by == MadeBy::Anybody {
        routes.extend(writes(kind, of));
    }
    routes
}

/// Those of them that make or change something.
fn writes(kind: &'static Descriptor, of: impl Fn(Method, &str, &str, Verb, Handler) -> Route) -> [Route; 4] {
    let (all, one, name) =
        (format!("{PREFIX}/{}", kind.route), format!("{PREFIX}/{}/{{id}}", kind.route), kind.name);
    [
        Route {
            summary: format!("Makes a {name}."),
            query: WRITE,
            takes: Takes::Document,
            gives: Gives::Created,
            statuses: &[409],
            ..of(Method::POST, &all, "create", Verb::Create, |asked| Box::pin(write::create(asked)))
        },
        Route {
            summary: format!("Replaces what is wanted of a {name}."),
            query: WRITE,
            takes: Takes::Document,
            gives: Gives::Document,
            statuses: &[409, 412],
            ..of(Method::PUT, &one, "update", Verb::Edit, |asked| Box::pin(write::replace(asked)))
        },
        Route {
            summary: format!("Changes members of a {name} (RFC 7396)."),
            query: WRITE,
            takes: Takes::Patch,
            gives: Gives::Document,
            statuses: &[409, 412],
            ..of(Method::PATCH, &one, "patch", Verb::Edit, |asked| Box::pin(write::patch(asked)))
        },
        Route {
            summary: format!("Makes a {name} what it was at a version, also one that was deleted."),
            query: WRITE,
            takes: Takes::Object(shapes::revert),
            gives: Gives::Document,
            statuses: &[409, 412],
            ..of(Method::POST, &format!("{one}/revert"), "revert", Verb::Edit, |asked| {
                Box::pin(history::revert(asked))
            })
        },
    ]
}

/// The routes of what projects have attached.
fn of_attachments(kind: &'static Descriptor) -> Vec<Route> {
    let (all, one) = (format!("{PREFIX}/{}", kind.route), format!("{PREFIX}/{}/{{id}}", kind.route));
    let of = |method, path: &str, word: &str, verb, handler| Route {
        kind: Some(kind),
        access: Access::Kind(verb),
        ..route(method, path.to_owned(), format!("{}.{word}", kind.plural), handler)
    };
    vec![
        Route {
            summary: "Lists which servers are attached to which projects.".into(),
            query: LIST,
            gives: Gives::Documents,
            ..of(Method::GET, &all, "list", Verb::View, |asked| Box::pin(attachments::list(asked)))
        },
        Route {
            summary: "Attaches a server to a project.".into(),
            query: WRITE,
            takes: Takes::Document,
            gives: Gives::Created,
            statuses: &[409],
            ..of(Method::POST, &all, "create", Verb::Create, |asked| Box::pin(attachments::create(asked)))
        },
        Route {
            summary: "Shows one attachment, by its id, or by the server's name and `project`.".into(),
            query: READ,
            gives: Gives::Document,
            ..of(Method::GET, &one, "get", Verb::View, |asked| Box::pin(attachments::get(asked)))
        },
        Route {
            summary: "Detaches a server from a project.".into(),
            query: WRITE,
            statuses: &[409],
            ..of(Method::DELETE, &one, "delete", Verb::Delete, |asked| Box::pin(attachments::delete(asked)))
        },
    ]
}

fn find(name: &str) -> Option<&'static Descriptor> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

/// What projects have beside what every kind has.
fn of_projects() -> Vec<Route> {
    let Some(kind) = find("project") else { return Vec::new() };
    let of = |method, tail: &str, word: &str, verb, handler| Route {
        kind: Some(kind),
        access: Access::Kind(verb),
        ..route(method, format!("{PREFIX}/projects/{{id}}/{tail}"), format!("projects.{word}"), handler)
    };
    let shown = |summary: &str, schema: Schema, route: Route| Route {
        summary: summary.to_owned(),
        gives: Gives::Object(200, schema),
        ..route
    };
    vec![
        Route {
            statuses: &[409],
            ..shown(
                "A `.mcp.json` for Claude Code.",
                shapes::mcp_config,
                of(Method::GET, "mcp-config", "mcp_config", Verb::Expose, |asked| {
                    Box::pin(projects::mcp_config(asked))
                }),
            )
        },
        Route {
            statuses: &[409],
            ..shown(
                "The project's prompt and its servers, for a system message.",
                shapes::instructions,
                of(Method::GET, "instructions", "instructions", Verb::View, |asked| {
                    Box::pin(projects::instructions(asked))
                }),
            )
        },
        shown(
            "The servers that are attached.",
            shapes::anything_list,
            of(Method::GET, "servers", "servers.list", Verb::View, |asked| {
                Box::pin(projects::servers(asked))
            }),
        ),
        Route {
            summary: "Attaches a server.".into(),
            query: ONLY_DRY,
            takes: Takes::Object(shapes::attach),
            gives: Gives::Object(201, shapes::anything),
            statuses: &[409],
            ..of(Method::POST, "servers", "servers.attach", Verb::Edit, |asked| {
                Box::pin(projects::attach(asked))
            })
        },
        Route {
            summary: "Detaches a server.".into(),
            query: ONLY_DRY,
            statuses: &[409],
            ..of(Method::DELETE, "servers/{server}", "servers.detach", Verb::Edit, |asked| {
                Box::pin(projects::detach(asked))
            })
        },
        Route {
            query: SESSION,
            ..shown(
                "Prompts of the project and of the whole system, and what a session has asked for.",
                shapes::anything_list,
                of(Method::GET, "prompts/visible", "prompts.visible", Verb::View, |asked| {
                    Box::pin(prompts::visible(asked))
                }),
            )
        },
        shown(
            "A compact index of the prompts, for gating.",
            shapes::anything_list,
            of(Method::GET, "prompt-index", "prompts.index", Verb::View, |asked| {
                Box::pin(prompts::index(asked))
            }),
        ),
    ]
}

fn of_prompts() -> Vec<Route> {
    let Some(kind) = find("promptrequest") else { return Vec::new() };
    vec![Route {
        kind: Some(kind),
        access: Access::Kind(Verb::Delete),
        summary: "Makes a prompt of a request, and the request is gone: both or neither.".into(),
        query: WRITE,
        gives: Gives::Object(201, shapes::anything),
        statuses: &[409, 412],
        ..route(
            Method::POST,
            format!("{PREFIX}/promptrequests/{{id}}/approve"),
            "promptrequests.approve".into(),
            |asked| Box::pin(prompts::approve(asked)),
        )
    }]
}

/// Who is signed in.
fn of_logins() -> Vec<Route> {
    let of = |method, tail: &str, word: &str, access, handler| Route {
        access,
        ..route(method, format!("{PREFIX}/auth/{tail}"), format!("auth.{word}"), handler)
    };
    vec![
        Route {
            summary: "Makes the first user, who may everything: once, with the administrator's token.".into(),
            takes: Takes::Object(shapes::bootstrap),
            gives: Gives::Object(201, shapes::signed_in),
            statuses: &[403, 409],
            ..of(Method::POST, "bootstrap", "bootstrap", Access::Public, |asked| {
                Box::pin(auth::bootstrap(asked))
            })
        },
        Route {
            summary: "Whether there are users.".into(),
            gives: Gives::Object(200, shapes::auth_status),
            ..of(Method::GET, "status", "status", Access::Public, |asked| Box::pin(auth::status(asked)))
        },
        Route {
            summary: "Signs in by password.".into(),
            takes: Takes::Object(shapes::login),
            gives: Gives::Object(200, shapes::signed_in),
            ..of(Method::POST, "login", "login", Access::Public, |asked| Box::pin(auth::login(asked)))
        },
        Route {
            summary: "Ends this login.".into(),
            ..of(Method::POST, "logout", "logout", Access::Known, |asked| Box::pin(auth::logout(asked)))
        },
        Route {
            summary: "Another password for oneself. All logins of the account end; the answer is a new one."
                .into(),
            takes: Takes::Object(shapes::password),
            gives: Gives::Object(200, shapes::signed_in),
            statuses: &[409],
            ..of(Method::POST, "password", "password", Access::Known, |asked| Box::pin(auth::password(asked)))
        },
        Route {
            summary: "Who this is.".into(),
            gives: Gives::Object(200, shapes::me),
            ..of(Method::GET, "me", "me", Access::Known, |asked| Box::pin(auth::me(asked)))
        },
        Route {
            summary: "A login that acts as another user; the record has both.".into(),
            takes: Takes::Object(shapes::impersonate),
            gives: Gives::Object(201, shapes::signed_in),
            ..of(
                Method::POST,
                "impersonate",
                "impersonate",
                Access::Operation(Operation::Impersonate),
                |asked| Box::pin(auth::impersonate(asked)),
            )
        },
        Route {
            kind: find("user"),
            summary: "An invite that makes one user, once.".into(),
            takes: Takes::Object(shapes::invite),
            gives: Gives::Object(201, shapes::invited),
            statuses: &[409],
            ..of(Method::POST, "invites", "invite", Access::Kind(Verb::Create), |asked| {
                Box::pin(invites::make(asked))
            })
        },
        Route {
            kind: find("user"),
            summary: "Lists invites, without what redeems them.".into(),
            gives: Gives::Object(200, shapes::invites),
            ..of(Method::GET, "invites", "invites.list", Access::Kind(Verb::Create), |asked| {
                Box::pin(invites::list(asked))
            })
        },
        Route {
            kind: find("user"),
            summary: "Takes an invite back.".into(),
            ..of(Method::DELETE, "invites/{id}", "invites.delete", Access::Kind(Verb::Create), |asked| {
                Box::pin(invites::take_back(asked))
            })
        },
        Route {
            summary: "Redeems an invite, and signs in.".into(),
            takes: Takes::Object(shapes::join),
            gives: Gives::Object(201, shapes::signed_in),
            statuses: &[409],
            ..of(Method::POST, "join", "join", Access::Public, |asked| Box::pin(invites::join(asked)))
        },
    ]
}

/// What is about no kind.
fn of_the_whole() -> Vec<Route> {
    let of = |method, tail: &str, word: &str, access, handler| Route {
        access,
        ..route(method, format!("{PREFIX}/{tail}"), word.to_owned(), handler)
    };
    let healthz: Handler = |asked: Asked| Box::pin(async move { health::healthz(&asked) });
    vec![
        Route {
            summary: "Makes everything as these lists say: all of it or nothing.".into(),
            query: APPLY,
            takes: Takes::Lists,
            gives: Gives::Object(200, shapes::applied),
            statuses: &[404, 409],
            ..of(Method::POST, "apply", "apply", Access::Each, |asked| Box::pin(apply::apply(asked)))
        },
        Route {
            summary: "Events: what others claimed, and what this server recorded itself.".into(),
            query: audit::EVENTS,
            gives: Gives::Object(200, shapes::anything_list),
            ..of(Method::GET, "audit/events", "audit.events", Access::Noun(Verb::View, "audit"), |asked| {
                Box::pin(audit::events(asked))
            })
        },
        Route {
            summary: "Reports events, which are kept as claims.".into(),
            takes: Takes::Object(shapes::claims),
            gives: Gives::Object(201, shapes::accepted),
            ..of(Method::POST, "audit/events", "audit.claim", Access::Noun(Verb::Create, "audit"), |asked| {
                Box::pin(audit::claim(asked))
            })
        },
        Route {
            summary: "Sessions that events were claimed of.".into(),
            gives: Gives::Object(200, shapes::anything_list),
            ..of(
                Method::GET,
                "audit/sessions",
                "audit.sessions",
                Access::Noun(Verb::View, "audit"),
                |asked| Box::pin(audit::sessions(asked)),
            )
        },
        Route {
            summary: "What was counted of these routes since the start.".into(),
            gives: Gives::Object(200, shapes::metrics),
            ..of(Method::GET, "metrics", "metrics", Access::Known, |asked| Box::pin(health::metrics(asked)))
        },
        Route {
            summary: "How the whole is; more of it for whoever is known.".into(),
            gives: Gives::Object(200, shapes::overview),
            ..of(Method::GET, "health/overview", "health.overview", Access::Public, |asked| {
                Box::pin(health::overview(asked))
            })
        },
        Route {
            kind: find("instance"),
            summary: "How one instance is.".into(),
            gives: Gives::Object(200, shapes::instance_health),
            ..of(Method::GET, "health/instances/{id}", "health.instance", Access::Kind(Verb::View), |asked| {
                Box::pin(instances::health(asked))
            })
        },
        Route {
            summary: "This description.".into(),
            gives: Gives::Object(200, shapes::anything),
            ..of(Method::GET, "openapi.json", "openapi", Access::Public, |_asked| {
                Box::pin(async move { Ok(health::openapi()) })
            })
        },
        Route {
            summary: "Whether this server lives.".into(),
            access: Access::Public,
            gives: Gives::Object(200, shapes::alive),
            ..route(Method::GET, "/healthz".into(), "healthz".into(), healthz)
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_routes_are_the_same_and_each_says_what_it_does() {
        let mut seen = HashSet::new();
        for route in &*ROUTES {
            assert!(
                seen.insert((route.method.clone(), route.path.clone())),
                "{} {}",
                route.method,
                route.path
            );
            assert!(route.summary.ends_with('.'), "{}", route.operation);
        }
        let operations: HashSet<_> = ROUTES.iter().map(|route| &route.operation).collect();
        assert_eq!(operations.len(), ROUTES.len(), "an operation is named once");
    }
}
