//! Routes of what runs: instances, and what servers offer.

use hayward_auth::{Operation, Verb};
use http::Method;

use super::{ONLY_DRY, find, route};
use crate::rest::{authorization, instances, proxy, tools};
use crate::wire::PREFIX;
use crate::wire::route::{Access, Gives, Param, Route, Takes};
use crate::wire::shapes;

const LOGS: &[Param] = &[
    Param::number("tail", "Only so many of the last lines."),
    Param::switch(
        "follow",
        "Goes on with new lines, as lines of JSON, until the log is over or the client leaves.",
    ),
    Param::switch("previous", "Those of the instance that this one took the place of."),
];

/// What servers have beside what every kind has.
pub(super) fn of_servers() -> Vec<Route> {
    let Some(kind) = find("server") else { return Vec::new() };
    let of = |method, tail: &str, word: &str, verb, handler| Route {
        kind: Some(kind),
        access: Access::Kind(verb),
        ..route(method, format!("{PREFIX}/servers/{{id}}/{tail}"), format!("servers.{word}"), handler)
    };
    vec![
        Route {
            summary: "The tools that are known of a server: shown, waiting to be approved, kept back.".into(),
            gives: Gives::Object(200, shapes::tools),
            ..of(Method::GET, "tools", "tools.list", Verb::View, |asked| Box::pin(tools::list(asked)))
        },
        Route {
            summary: "Approves what waits of a tool, if it is the definition of this digest.".into(),
            query: ONLY_DRY,
            takes: Takes::Object(shapes::approve),
            gives: Gives::Object(200, shapes::approved),
            statuses: &[409],
            ..of(Method::POST, "tools/{name}/approve", "tools.approve", Verb::Edit, |asked| {
                Box::pin(tools::approve(asked))
            })
        },
        Route {
            summary: "Asks for access to a server that is granted by OAuth: the address that a person opens."
                .into(),
            takes: Takes::Object(shapes::authorization),
            gives: Gives::Object(200, shapes::authorization_question),
            statuses: &[409, 502],
            ..of(Method::POST, "authorization", "authorization.begin", Verb::Edit, |asked| {
                Box::pin(authorization::begin(asked))
            })
        },
        Route {
            summary:
                "Takes what the person's browser came back with, and keeps what was granted as a secret."
                    .into(),
            takes: Takes::Object(shapes::authorization_answer),
            gives: Gives::Object(200, shapes::authorized),
            statuses: &[409, 502],
            ..of(Method::POST, "authorization/answer", "authorization.answer", Verb::Edit, |asked| {
                Box::pin(authorization::answer(asked))
            })
        },
    ]
}

/// How servers are asked without a client of the protocol.
pub(super) fn of_proxy() -> Vec<Route> {
    vec![Route {
        summary: "Asks a server, or the servers of a project, what a message of MCP says; the answer is the one that it gives.".into(),
        takes: Takes::Object(shapes::proxied),
        gives: Gives::Object(200, shapes::answered),
        statuses: &[404, 501],
        ..route(Method::POST, format!("{PREFIX}/mcp/proxy"), "mcp.proxy".to_owned(), |asked| {
            Box::pin(proxy::proxy(asked))
        })
    }]
}

/// What instances have beside what every kind has.
pub(super) fn of_instances() -> Vec<Route> {
    let Some(kind) = find("instance") else { return Vec::new() };
    let of = |tail: &str, word: &str, access, handler| Route {
        kind: Some(kind),
        access,
        ..route(
            Method::GET,
            format!("{PREFIX}/instances/{{id}}/{tail}"),
            format!("instances.{word}"),
            handler,
        )
    };
    vec![
        Route {
            summary: "What the node that runs an instance knows of it.".into(),
            gives: Gives::Object(200, shapes::inspected),
            ..of("inspect", "inspect", Access::Kind(Verb::View), |asked| Box::pin(instances::inspect(asked)))
        },
        Route {
            summary: "What an instance says beside its protocol: its last lines, or all that come.".into(),
            query: LOGS,
            gives: Gives::Object(200, shapes::logs),
            ..of("logs", "logs", Access::Operation(Operation::Logs), |asked| Box::pin(instances::logs(asked)))
        },
    ]
}
