//! JSON as the data path handles it: raw text that was checked once, spliced and never re-encoded.
//!
//! A gateway that decodes and re-encodes loses what its types don't know, and one whose
//! view differs from the next hop's view can be smuggled past. So a message is scanned once
//! ([`scan`]): valid UTF-8, valid RFC 8259, bounded depth, no duplicate key in any object.
//! From then on it is a [`Raw`], a cheap slice of the bytes that came in.

mod alike;
mod object;
mod raw;
mod scan;
mod write;

pub use alike::is_alike;
pub use object::{Member, Object};
pub use raw::Raw;
pub use scan::{Defect, JsonError, Limits, scan};
pub use write::{ArrayWriter, ObjectWriter, escape_into, escape_str_into, from_written};
