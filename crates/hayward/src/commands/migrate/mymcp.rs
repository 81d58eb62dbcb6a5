//! `hayward migrate mymcp`: settings, tokens and paths of mymcp 1.x and 2.x.
//!
//! Reads what mymcp has and changes nothing of it, so that it can be started again. What becomes of it is decided first;
//! a second run finds what the first one took over. Tokens are never shown.

mod decide;
mod old;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use hayward_api::{Code, Error, Principal, Tier};
use hayward_store::{Actor, DatabaseUrl, Store};

use crate::commands::config::edit;
use crate::config::file::read;
use crate::config::keys::Keys;
use crate::config::{AllLimits, Common};
use crate::failure::Failure;
use crate::stack::{acquire, open_store};
use crate::{output, runtime};
use decide::{Plan, Taken, decide};
use old::Old;

/// The data directory of a service, for root without another.
const SERVICE_DATA: &str = "/var/lib/hayward";

/// Takes over settings, tokens and paths of mymcp 1.x and 2.x, so that its clients go on with the tokens that they have.
///
/// Changes nothing of mymcp, so stop it before the service is started: both want the same port.
#[derive(clap::Args)]
pub(crate) struct MymcpArgs {
    /// Directory of an installation of mymcp 2.x, with its .env
    #[arg(long, value_name = "DIR", default_value = "/etc/mymcp")]
    from: PathBuf,

    /// Directory of an installation of mymcp 1.x, with its .env [default: /opt/mymcp, if there is none of 2.x]
    #[arg(long, value_name = "DIR")]
    legacy_dir: Option<PathBuf>,

    /// Shows what would be taken over, and takes nothing
    #[arg(long)]
    dry_run: bool,
}

impl MymcpArgs {
    /// What is there of mymcp: what was named, else 2.x, else 1.x.
    fn old(&self) -> Result<Old, Failure> {
        if let Some(dir) = &self.legacy_dir {
            return old::of_1(dir)?.ok_or_else(|| none(dir));
        }
        if let Some(old) = old::of_2(&self.from)? {
            return Ok(old);
        }
        old::of_1(Path::new("/opt/mymcp"))?.ok_or_else(|| none(&self.from))
    }
}

fn none(dir: &Path) -> Failure {
    let message = format!("no mymcp in `{}`: there is no `.env`", dir.display());
    Error::new(Code::NotFound, message)
        .with_hint("name its directory with --from (2.x) or --legacy-dir (1.x)")
        .into()
}

pub(super) fn run(args: &MymcpArgs, common: &Common) -> Result<(), Failure> {
    let root = crate::line();
    let keys = Keys::of(&root);
    let file = crate::config::file().ok_or_else(|| {
        Failure::configuration(anyhow!("no file of the configuration")).hint("name one with `--config`")
    })?;
    let mut plan = decide(&args.old()?, &root, &keys);
    let data_dir = data_dir(common, &mut plan)?;
    let database = common.database()?;
    if let Some(url) = &database {
        plan.notes.push(format!(
            "tokens go into `{url}`: the service has to be told of it, see docs/guides/mymcp.md"
        ));
    }
    let place = database.as_ref().map_or_else(|| data_dir.display().to_string(), ToString::to_string);
    tell(&plan, &file, &place, args.dry_run);
    if args.dry_run {
        return Ok(());
    }
    let text = configured(&file, &plan, &keys)?;
    let known = runtime::block_on(take_over(&data_dir, database, &plan.tokens))?;
    edit::write(&file, &text)?;
    if known > 0 {
        output::tell(&format!("{known} tokens had been taken over before\n"));
    }
    output::tell(
        "done; next: `systemctl disable --now mymcp`, `hayward install-service`, `systemctl start hayward`\n",
    );
    Ok(())
}

/// Where tokens go; root's go where a service looks for them.
fn data_dir(common: &Common, plan: &mut Plan) -> Result<PathBuf, Failure> {
    if !rustix::process::geteuid().is_root() {
        return common.data_dir();
    }
    let dir = if common.data_dir.is_some() {
        common.data_dir()?
    } else {
        plan.settings.push(("data.dir".to_owned(), vec![SERVICE_DATA.to_owned()]));
        PathBuf::from(SERVICE_DATA)
    };
    refuse_foreign(&dir)?;
    Ok(dir)
}

/// What a service of another user has, that user alone opens; and that user can't read what mymcp has.
fn refuse_foreign(dir: &Path) -> Result<(), Failure> {
    let owner = std::fs::metadata(dir).map_or(0, |metadata| metadata.uid());
    if owner == 0 {
        return Ok(());
    }
    let message = format!("`{}` belongs to the user of an installed service (uid {owner})", dir.display());
    let hint = format!(
        "stop the service, run `chown -R root: {}`, take over, and run `hayward install-service` with its options once more, which gives it back",
        dir.display()
    );
    Err(Error::new(Code::Conflict, message).with_hint(hint).into())
}

/// The file with all settings, or why it can't have them.
fn configured(file: &Path, plan: &Plan, keys: &Keys) -> Result<String, Failure> {
    let wrong = |why: String| Failure::configuration(anyhow!("{}: {why}", file.display()));
    let text = read(file).map_err(|fault| Failure::configuration(anyhow!(fault)))?.unwrap_or_default();
    let settings = plan.settings.iter().filter_map(|(name, values)| Some((keys.find(name)?, values)));
    settings
        .into_iter()
        .try_fold(text, |text, (key, values)| edit::changed(&text, key, values))
        .map_err(wrong)
}

fn tell(plan: &Plan, file: &Path, place: &str, is_dry: bool) {
    let would = if is_dry { "would take over" } else { "takes over" };
    output::tell(&format!("{would} from {}\n", plan.source.display()));
    for (name, values) in &plan.settings {
        output::tell(&format!("  {name} = {}  ({})\n", output::plain(&values.join(", ")), file.display()));
    }
    for taken in &plan.tokens {
        let state = if taken.enabled { "" } else { ", disabled" };
        let (name, role) = (&taken.name, taken.role.as_str());
        output::tell(&format!("  token `{name}` ({role}{state}) as {}  ({})\n", taken.token.id, place));
    }
    for note in &plan.notes {
        output::tell(&format!("note: {}\n", output::plain(note)));
    }
}

/// Keeps tokens that aren't there yet; how many were.
async fn take_over(
    data_dir: &Path,
    database: Option<DatabaseUrl>,
    tokens: &[Taken],
) -> Result<usize, Failure> {
    let data = acquire(data_dir)?;
    let store = open_store(data.path(), database, &AllLimits::default()).await?;
    let done = keep(&store, tokens).await;
    store.close().await;
    done
}

async fn keep(store: &Store, tokens: &[Taken]) -> Result<usize, Failure> {
    let actor = Actor::from(&Principal::local("migrate", Tier::Operate));
    let stored = store.list_tokens().await.map_err(Error::from)?;
    let mut names: Vec<String> = stored.iter().map(|token| token.metadata.name.to_string()).collect();
    let mut known = 0;
    for taken in tokens {
        if stored.iter().any(|token| token.id == taken.token.id) {
            known += 1;
            continue;
        }
        let name = decide::free(&taken.name, &names);
        store.import_token(&name, taken.spec(), &taken.token, &actor).await.map_err(Error::from)?;
        names.push(name);
    }
    Ok(known)
}
