//! The certificates of the trial: an authority that the client trusts, one that it doesn't, and the host's.

use anyhow::Result;

use super::house::{HOST, SHARED};
use crate::toolbox::docker::Container;

/// Makes both authorities and a first certificate, below the shared folder.
pub(super) fn make(host: &Container) -> Result<()> {
    let authority = |name: &str| {
        format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN={name}' \
             -keyout {SHARED}/{name}.key -out {SHARED}/{name}.pem"
        )
    };
    host.good(&authority("ca"))?;
    host.good(&authority("stranger"))?;
    issue(host).map(drop)
}

/// Issues the host a new certificate; its serial number.
pub(super) fn issue(host: &Container) -> Result<String> {
    host.good(&format!(
        "openssl req -x509 -CA {SHARED}/ca.pem -CAkey {SHARED}/ca.key -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
         -days 1 -subj '/CN={HOST}' -addext 'subjectAltName=DNS:{HOST}' -addext 'basicConstraints=critical,CA:false' \
         -keyout {SHARED}/host.key -out {SHARED}/host.pem"
    ))?;
    host.good(&format!("openssl x509 -noout -serial -in {SHARED}/host.pem"))
}
