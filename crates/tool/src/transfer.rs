//! The contract of transfers: bytes of files that go past the calls, under a ticket that a call has made.
//!
//! Whoever has the ticket may move the bytes of one file in one direction, once, until it expires. What the
//! ticket stands for (who made it, which file) is on this side; how bytes travel is the gateway's.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hayward_api::{Code, Principal};
use tokio::sync::mpsc;

use crate::outcome::ToolError;
use crate::tool::BoxFuture;
use crate::{Cx, Ending, Verdict};

/// Where the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into a file of this machine.
    Upload,
    /// Out of one.
    Download,
}

impl Direction {
    /// The word for it: `upload` or `download`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }

    /// The HTTP method of its tickets.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Upload => "PUT",
            Self::Download => "GET",
        }
    }
}

/// What redeems tickets.
pub trait Transfers: Send + Sync {
    /// Looks at a ticket without using it up.
    fn look(&self, ticket: &str) -> Result<TicketView, TransferError>;

    /// Takes a ticket for one transfer. Dropped before any byte has moved, it can be taken again; dropped on the way,
    /// it can be taken to go on from there.
    fn claim(&self, ticket: &str, direction: Direction) -> Result<Box<dyn Claim>, TransferError>;
}

/// A ticket as its holder may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketView {
    /// Where its bytes go.
    pub direction: Direction,
    /// Bytes of an upload that have come so far.
    pub received: u64,
    /// Bytes that an upload may have.
    pub bytes_max: u64,
}

/// A ticket that was taken.
pub trait Claim: Send {
    /// Who made it.
    fn principal(&self) -> &Arc<Principal>;

    /// The file, as its maker named it.
    fn path(&self) -> &str;

    /// Bytes of an upload that have come so far.
    fn received(&self) -> u64;

    /// The SHA-256 that the file of an upload has when it is whole, if its maker has named one.
    fn sha256(&self) -> Option<[u8; 32]>;

    /// How long the transfer may take.
    fn timeout(&self) -> Duration;

    /// Opens the file of a download.
    fn open<'a>(&'a mut self, cx: &'a Cx) -> BoxFuture<'a, Result<Source, TransferError>>;

    /// Counts bytes of a download before they are sent: its ticket is no way to fetch a file time and again.
    fn spend(&mut self, bytes: u64) -> Result<(), TransferError>;

    /// Sends these bytes of the file that was opened, in order, in chunks of any size, and says whether they were its
    /// last ones, with which the ticket is used up. Ends also when nobody takes them any more, or soon after `cx` stops.
    fn send<'a>(
        &'a mut self,
        cx: &'a Cx,
        range: Range<u64>,
        chunks: mpsc::Sender<Bytes>,
    ) -> BoxFuture<'a, Result<bool, TransferError>>;

    /// Takes the bytes of an upload, and gives the file its name when all are there: a part that doesn't end the upload
    /// leaves it open for the next one. Returns the bytes that the upload has now.
    fn receive<'a>(
        &'a mut self,
        cx: &'a Cx,
        part: Part,
        chunks: mpsc::Receiver<Incoming>,
    ) -> BoxFuture<'a, Result<Received, TransferError>>;
}

/// A file that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its own name, without directories; may be no UTF-8 in the original.
    pub name: String,
    /// Changes when the file does.
    pub version: String,
}

/// Which bytes of an upload come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Where the first one goes.
    pub offset: u64,
    /// How many come, if that is known.
    pub bytes: Option<u64>,
    /// How many the whole upload has, if that was said.
    pub total: Option<u64>,
}

/// A piece of an upload.
#[derive(Debug)]
pub enum Incoming {
    /// Bytes.
    Chunk(Bytes),
    /// There are no more: without this, the sender was cut off.
    End,
}

/// What has become of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that came so far.
    pub bytes: u64,
    /// Whether the file has its name.
    pub is_whole: bool,
}

/// Why a transfer did not happen, in the words that mymcp's clients know where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Nothing is transferred here.
    #[error("transfers are switched off")]
    Disabled,
    /// Nobody has made this ticket.
    #[error("there is no such ticket")]
    TicketNotFound,
    /// It was used up.
    #[error("the ticket was used")]
    TicketUsed,
    /// A transfer under it is under way, as far as we know.
    #[error("the ticket is in use")]
    TicketInUse,
    /// Its time is over.
    #[error("the ticket has expired")]
    TicketExpired,
    /// It is for the other direction.
    #[error("the ticket is for {}", .0.as_str())]
    WrongMethod(Direction),
    /// More bytes than the ticket allows.
    #[error("more than the {bytes_max} bytes of the ticket")]
    SizeExceeded {
        /// What it allows.
        bytes_max: u64,
    },
    /// The length, or the range, of an upload makes no sense.
    #[error("{what}")]
    BadLength {
        /// What is wrong.
        what: &'static str,
    },
    /// No byte of the range is in the file.
    #[error("the file has {bytes} bytes")]
    RangeNotSatisfiable {
        /// How many it has.
        bytes: u64,
    },
    /// The upload has come to another place.
    #[error("the upload has {received} bytes, so the next part begins there")]
    OffsetMismatch {
        /// How far it has come.
        received: u64,
    },
    /// The bytes aren't those that were announced.
    #[error("the SHA-256 of the bytes is not the one of the ticket")]
    DigestMismatch,
    /// The file is there, and isn't to be overwritten.
    #[error("the file exists, and the ticket does not overwrite")]
    FileExists,
    /// The file is not there, or no regular file.
    #[error("{what}")]
    PathNotFound {
        /// What is wrong.
        what: String,
    },
    /// The path may not be reached.
    #[error("{what}")]
    PathProtected {
        /// Why.
        what: String,
    },
    /// The file is another one than when the ticket was made or the transfer began.
    #[error("the file has changed meanwhile")]
    FileChanged,
    /// Its directory can't be made.
    #[error("{what}")]
    MkdirFailed {
        /// Why.
        what: String,
    },
    /// The bytes can't be written.
    #[error("{what}")]
    WriteFailed {
        /// Why.
        what: String,
    },
    /// The bytes can't be read.
    #[error("{what}")]
    ReadFailed {
        /// Why.
        what: String,
    },
    /// The other side was cut off, or took too long.
    #[error("the stream broke off after {bytes} bytes")]
    StreamAborted {
        /// How far it came.
        bytes: u64,
    },
    /// As many transfers as may be are under way.
    #[error("{transfers_max} transfers are under way")]
    Busy {
        /// How many may be.
        transfers_max: u64,
    },
    /// The road refused it.
    #[error("{}", .0.message)]
    Refused(Box<ToolError>),
}

impl TransferError {
    /// The code that is told, and recorded.
    pub fn code(&self) -> &str {
        match self {
            Self::Disabled => "transfer_disabled",
            Self::TicketNotFound | Self::TicketUsed => "ticket_not_found",
            Self::TicketInUse => "ticket_in_use",
            Self::TicketExpired => "ticket_expired",
            Self::WrongMethod(_) => "wrong_method",
            Self::SizeExceeded { .. } => "size_exceeded",
            Self::BadLength { .. } => "bad_content_length",
            Self::RangeNotSatisfiable { .. } => "range_not_satisfiable",
            Self::OffsetMismatch { .. } => "offset_mismatch",
            Self::DigestMismatch => "digest_mismatch",
            Self::FileExists => "file_exists",
            Self::PathNotFound { .. } => "path_not_found",
            Self::PathProtected { .. } => "path_protected",
            Self::FileChanged => "file_changed",
            Self::MkdirFailed { .. } => "mkdir_failed",
            Self::WriteFailed { .. } => "write_failed",
            Self::ReadFailed { .. } => "read_failed",
            Self::StreamAborted { .. } => "stream_aborted",
            Self::Busy { .. } => "busy",
            Self::Refused(error) => error.code,
        }
    }

    /// The status of an HTTP answer that says so.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Disabled | Self::TicketNotFound | Self::PathNotFound { .. } => 404,
            Self::TicketUsed | Self::TicketExpired => 410,
            Self::WrongMethod(_) => 405,
            Self::SizeExceeded { .. } => 413,
            Self::BadLength { .. } | Self::StreamAborted { .. } => 400,
            Self::TicketInUse | Self::OffsetMismatch { .. } | Self::FileExists | Self::FileChanged => 409,
            Self::RangeNotSatisfiable { .. } => 416,
            Self::DigestMismatch => 422,
            Self::PathProtected { .. } => 403,
            Self::MkdirFailed { .. } | Self::WriteFailed { .. } | Self::ReadFailed { .. } => 500,
            Self::Busy { .. } => 503,
            Self::Refused(error) => error.kind.http_status(),
        }
    }

    /// What its receiver can do.
    pub fn hint(&self) -> String {
        match self {
            Self::TicketNotFound | Self::TicketExpired => "Mint a new ticket.".to_owned(),
            Self::Disabled => "The server was started without transfers.".to_owned(),
            Self::TicketUsed => "Ticket already used.".to_owned(),
            Self::TicketInUse => "A transfer is still under way: ask again in a moment.".to_owned(),
            Self::WrongMethod(direction) => format!("This ticket requires {}.", direction.method()),
            Self::SizeExceeded { bytes_max } => {
                format!("Send at most {bytes_max} bytes, or mint a ticket with a larger max_bytes.")
            }
            Self::BadLength { what } => format!("{what}."),
            Self::RangeNotSatisfiable { bytes } => {
                format!("The file has {bytes} bytes: ask for some of them.")
            }
            Self::OffsetMismatch { received } => {
                format!("Go on with Content-Range: bytes {received}-LAST/TOTAL.")
            }
            Self::DigestMismatch => {
                "Nothing was changed. Mint a new ticket, and send the file again.".to_owned()
            }
            Self::FileExists => "Mint a new ticket with overwrite, or choose another path.".to_owned(),
            Self::FileChanged => "Mint a new ticket, and begin again.".to_owned(),
            Self::StreamAborted { .. } => {
                "Ask with HEAD how much has come, and go on from there before the ticket expires.".to_owned()
            }
            Self::Busy { .. } => "Try again in a moment.".to_owned(),
            Self::PathNotFound { what }
            | Self::PathProtected { what }
            | Self::MkdirFailed { what }
            | Self::WriteFailed { what }
            | Self::ReadFailed { what } => what.clone(),
            Self::Refused(error) => match &error.suggestion {
                Some(suggestion) => format!("{}: {suggestion}", error.message),
                None => error.message.clone(),
            },
        }
    }

    /// What the record says of it.
    pub fn verdict(&self) -> Verdict {
        let ending = match self {
            Self::PathProtected { .. } => Ending::Denied,
            Self::StreamAborted { .. } => Ending::Cancelled,
            Self::Refused(error) if error.kind == Code::Forbidden => Ending::Denied,
            _ => Ending::Error,
        };
        Verdict::failed(ending, self.code().to_owned(), self.to_string())
    }
}

impl From<ToolError> for TransferError {
    fn from(error: ToolError) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_in_the_words_and_statuses_of_the_seed() {
        for (error, code, status, hint) in [
            (TransferError::TicketNotFound, "ticket_not_found", 404, "Mint a new ticket."),
            (TransferError::TicketUsed, "ticket_not_found", 410, "Ticket already used."),
            (TransferError::TicketExpired, "ticket_expired", 410, "Mint a new ticket."),
            (TransferError::WrongMethod(Direction::Upload), "wrong_method", 405, "This ticket requires PUT."),
            (
                TransferError::WrongMethod(Direction::Download),
                "wrong_method",
                405,
                "This ticket requires GET.",
            ),
        ] {
            assert_eq!((error.code(), error.http_status(), &*error.hint()), (code, status, hint));
        }
        let size = TransferError::SizeExceeded { bytes_max: 7 };
        assert_eq!((size.code(), size.http_status()), ("size_exceeded", 413));
    }

    #[test]
    fn the_record_tells_what_was_denied_from_what_broke() {
        let ending = |error: TransferError| error.verdict().ending;
        assert_eq!(ending(TransferError::PathProtected { what: String::new() }), Ending::Denied);
        assert_eq!(ending(TransferError::StreamAborted { bytes: 1 }), Ending::Cancelled);
        assert_eq!(ending(TransferError::DigestMismatch), Ending::Error);
    }
}
