//! `hayward secrets`: the keys of sealed values, while no daemon has the data directory.

use std::iter;
use std::path::Path;

use clap::Subcommand;
use hayward_api::Error;
use hayward_store::{Store, Verified};

use crate::config::{AllLimits, Common};
use crate::failure::Failure;
use crate::stack::{acquire, open_store};
use crate::{output, runtime};

/// Looks after the keys of sealed values: the values of secrets.
///
/// Works on the data directory itself, so no daemon may have it. Whatever is interrupted can be started again: at every
/// moment everything opens. Where several nodes share a database, stop them all, and give each the new key file.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand, Clone, Copy)]
enum Action {
    /// Puts another key in the place of the one that wraps all others, and forgets the old one
    RotateKey,
    /// Seals every value anew, each version with a key of its own
    Rekey,
    /// Opens everything that is sealed, and says what doesn't open
    Verify,
    /// Prints the key that other servers seal values for with `get secret NAME --seal-to FILE`
    PublicKey,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let _log = args.common.start_log()?;
    let limits = AllLimits::read(&[])?;
    let data_dir = args.common.data_dir()?;
    // Whatever opens a directory makes it if it isn't there, and in a new one everything is well.
    if !data_dir.is_dir() {
        let error = anyhow::anyhow!("there is no data directory `{}`", data_dir.display());
        return Err(Failure::unavailable(error).hint("name that of the server with `--data-dir`"));
    }
    runtime::block_on(async {
        let data = acquire(&data_dir)?;
        let store = open_store(data.path(), args.common.database()?, &limits).await?;
        let done = act(args.action, &store, data.path()).await;
        store.close().await;
        done
    })
}

async fn act(action: Action, store: &Store, data_dir: &Path) -> Result<(), Failure> {
    match action {
        Action::RotateKey => {
            let id = store.rotate_key(|_| {}).await.map_err(Error::from)?;
            output::tell(&format!(
                "everything is wrapped by key {id} in {}\n",
                data_dir.join("keys").display()
            ));
            Ok(())
        }
        Action::Rekey => {
            let versions = store.rekey().await.map_err(Error::from)?;
            output::tell(&format!("{versions} versions of values were sealed anew\n"));
            Ok(())
        }
        Action::Verify => tell(&store.verify_sealed().await.map_err(Error::from)?),
        Action::PublicKey => {
            let key = store.public_key().await.map_err(Error::from)?;
            output::written(output::data(&format!("{key}\n")))
        }
    }
}

fn tell(found: &Verified) -> Result<(), Failure> {
    let used = found.keys_used.iter().map(|id| format!("key {id} is in use"));
    let unused = found.keys_unused.iter().map(|id| {
        format!("key {id} wraps nothing: a rotation was interrupted, `hayward secrets rotate-key` ends it")
    });
    let lines: Vec<_> =
        iter::once(format!("{} versions of values open", found.versions)).chain(used).chain(unused).collect();
    let text = lines.join("\n") + "\n";
    output::written(output::data(&text))?;
    if found.faults.is_empty() {
        return Ok(());
    }
    let faults = found.faults.join("; ");
    let error =
        Failure::from(Error::new(hayward_api::Code::Internal, format!("not everything opens: {faults}")));
    Err(error.hint("put the right key file back, or restore the database from a backup"))
}
