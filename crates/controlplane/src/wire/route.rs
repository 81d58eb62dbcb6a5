//! What a route is: from this follow the router, its description and the tests of what is refused.

use axum::response::Response;
use hayward_api::kinds::Descriptor;
use hayward_auth::{Operation, Verb};
use http::Method;

use super::asked::Asked;
use crate::ports::BoxFuture;
use crate::refusal::Refusal;

/// What answers a request.
pub(crate) type Handler = fn(Asked) -> BoxFuture<'static, Result<Response, Refusal>>;

/// A method of a path.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; a part in braces stands for any.
    pub path: String,
    /// Its name in the record and in the description, e.g. `servers.list`.
    pub operation: String,
    /// What it does, as a sentence.
    pub summary: String,
    /// The kind of resource that it is about, if it is about one.
    pub kind: Option<&'static Descriptor>,
    /// Who may.
    pub access: Access,
    /// What its query may have.
    pub query: &'static [Param],
    /// What its body is.
    pub takes: Takes,
    /// What it answers when nothing speaks against it.
    pub gives: Gives,
    /// Further statuses that it answers with, beside those that follow from all else.
    pub statuses: &'static [u16],
    pub(crate) handler: Handler,
}

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, known or not.
    Public,
    /// Whoever is known.
    Known,
    /// Whoever may do this with resources of the kind.
    Kind(Verb),
    /// Whoever may do this with what isn't a kind, e.g. `audit`.
    Noun(Verb, &'static str),
    /// Whoever may do this.
    Operation(Operation),
    /// What the route itself decides, of each object that it is about.
    Each,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What it looks like.
    pub form: Form,
}

/// What a parameter looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// This word.
    Word(&'static str),
}

impl Param {
    /// Text.
    pub(crate) const fn text(name: &'static str, about: &'static str) -> Self {
        Self { name, about, form: Form::Text }
    }

    /// A whole number.
    pub(crate) const fn number(name: &'static str, about: &'static str) -> Self {
        Self { name, about, form: Form::Number }
    }

    /// A switch.
    pub(crate) const fn switch(name: &'static str, about: &'static str) -> Self {
        Self { name, about, form: Form::Switch }
    }
}

/// What a body is.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// There is none.
    Nothing,
    /// A document of the kind.
    Document,
    /// A patch of such a document (RFC 7396).
    Patch,
    /// Keyed lists of documents.
    Lists,
    /// An object of this schema.
    Object(Schema),
}

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub enum Gives {
    /// 204.
    Nothing,
    /// 200, a document of the kind.
    Document,
    /// 201, a document of the kind.
    Created,
    /// 200, an array of documents of the kind, or a stream of events if it is watched.
    Documents,
    /// An object of this schema, with this status.
    Object(u16, Schema),
    /// 501: it comes later.
    Later,
}

/// Makes a schema.
pub type Schema = fn(&mut schemars::SchemaGenerator) -> schemars::Schema;
