//! Who asks for something, from where, and under which id.

use std::sync::Arc;

use crate::principal::Principal;
use crate::source::Source;

/// A request's sender, once it was identified. Nobody is a principal, too: the anonymous one.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Where from.
    pub source: Source,
    /// The id of the request, for the answer, the record and the log.
    pub request_id: Arc<str>,
}
