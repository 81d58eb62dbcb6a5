//! The supervisor process: starts one job at a time, reaps its orphans, ends them.
//!
//! It is synchronous, single-threaded and allocates little, so that it starts quickly and that
//! `std` takes the `posix_spawn` path for the job. It is the subreaper of everything below it:
//! an orphan is reparented to it, so no child (`ECHILD`) means no descendant, without a look
//! at `/proc`. It trusts nobody but its control socket, and its control socket entirely.

mod inbox;
mod spooled;
mod start;

use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, WaitStatus, getpid, set_child_subreaper, setsid, wait};

use crate::limits::{KILL, OOM_SCORE_ABOVE, PAUSE, REAP, SURVIVORS_NAMED_MAX};
use crate::open_files;
use crate::processes::{self, Process};
use crate::spool::LastWord;
use crate::stage::{self, Role};
use crate::wire::{End, Named, NotStarted, Report, Request, Start, Status, Step, Whom, encode};
use inbox::Inbox;
use spooled::Spooled;
use start::Main;

pub(crate) use start::{enter, failed};

/// Runs a supervisor whose control socket is standard input, until its server lets it go or is
/// gone. Nothing else may have been started in this process before.
///
/// Fails at once if standard input isn't such a socket: nobody calls this by hand.
pub fn supervise() -> ExitCode {
    // What the server inherited without close-on-exec (a shell's redirections, sockets of an
    // init system) isn't for jobs.
    close_fds::set_fds_cloexec(3, &[]);
    if let Some(role) = Role::of(std::env::args_os()) {
        return stage::run(role);
    }
    open_files::lower(std::env::args_os());
    // Away from the server's terminal: what its user types there isn't for jobs.
    die_sooner_than_the_server();
    let is_ready = setsid().is_ok() && set_child_subreaper(Some(getpid())).is_ok();
    let Some(mut supervisor) = Supervisor::new().filter(|_| is_ready) else {
        return ExitCode::FAILURE;
    };
    if let Ok(Leave::Released) = supervisor.serve() {
        return ExitCode::SUCCESS;
    }
    // The server is gone or talks nonsense: nothing of its jobs may stay.
    supervisor.reap();
    let was_killed = supervisor.ended.is_none();
    while !supervisor.kill(Whom::All, KILL) {
        supervisor.say_how_it_ended(was_killed);
    }
    supervisor.say_how_it_ended(was_killed);
    ExitCode::SUCCESS
}

/// Where memory is short, the kernel is to end a job and not the server. Raising is always allowed.
fn die_sooner_than_the_server() {
    let path = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let score = (now.unwrap_or(0) + OOM_SCORE_ABOVE).min(1_000);
    // Where it can't be said, the kernel goes by size alone.
    fs::write(path, score.to_string()).ok();
}

/// Why the supervisor leaves.
enum Leave {
    /// The server said so; what lives may live on.
    Released,
    /// The server is gone.
    Alone,
}

struct Supervisor {
    inbox: Inbox,
    main: Option<Main>,
    /// How the main process of the last job ended, if it has.
    ended: Option<Status>,
    /// Where that is told when the server is gone.
    spooled: Option<Spooled>,
    pipes: [u64; 2],
    is_contained: bool,
}

/// What reaping found.
struct Reaped {
    main: Option<Status>,
    is_alone: bool,
}

impl Supervisor {
    fn new() -> Option<Self> {
        let inbox = Inbox::on_stdin()?;
        Some(Self { inbox, main: None, ended: None, spooled: None, pipes: [0; 2], is_contained: false })
    }

    fn serve(&mut self) -> io::Result<Leave> {
        loop {
            while let Some(request) = self.inbox.next()? {
                match request {
                    Request::Start(start) => self.start(*start)?,
                    Request::End(end) => self.end(end)?,
                    Request::Release => return Ok(Leave::Released),
                }
            }
            let has_mail = self.wait_for_news()?;
            if self.main.is_some() {
                let reaped = self.reap();
                if let Some(status) = reaped.main {
                    self.tell(&Report::Ended { status, is_alone: reaped.is_alone })?;
                }
            }
            if has_mail && !self.inbox.fill()? {
                return Ok(Leave::Alone);
            }
        }
    }

    /// Waits for a message or the end of the main process; says whether there is a message.
    fn wait_for_news(&self) -> io::Result<bool> {
        let mut news = vec![PollFd::from_borrowed_fd(self.inbox.socket(), PollFlags::IN)];
        let tick = self.main.as_ref().map(|main| {
            news.push(PollFd::new(&main.handle, PollFlags::IN));
            timespec(REAP)
        });
        match poll(&mut news, tick.as_ref()) {
            Ok(_) => Ok(!news[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn start(&mut self, start: Start) -> io::Result<()> {
        let pipes = self.inbox.take_pipes(start.is_conversation)?;
        self.ended = None;
        self.spooled =
            start.place.clone().and_then(|place| Some(Spooled::new(place, self.inbox.take_readers()?)));
        match self.try_start(start, pipes) {
            Ok(main) => self.main = Some(main),
            Err(why) => {
                self.spooled = None;
                self.tell(&Report::NotStarted(why))?;
            }
        }
        Ok(())
    }

    fn try_start(&mut self, start: Start, pipes: inbox::Pipes) -> Result<Main, NotStarted> {
        if let Some(cgroup) = start.cgroup.as_ref().filter(|_| !self.is_contained) {
            start::enter(cgroup).map_err(|error| start::failed(Step::EnterCgroup, &error))?;
            self.is_contained = true;
        }
        self.pipes = pipes.inodes().map_err(|error| start::failed(Step::Watch, &error))?;
        Main::start(start, pipes)
    }

    /// The ladder: time to go unasked, SIGTERM, time to tidy up, SIGKILL.
    fn end(&mut self, end: End) -> io::Result<()> {
        self.is_over_within(Whom::All, end.settle_ms)?;
        let found = self.name(&self.family(Whom::All));
        for process in self.family(end.whom) {
            process.signal(Signal::TERM);
            // A stopped process would get it only when somebody continues it.
            process.signal(Signal::CONT);
        }
        if !self.is_over_within(end.whom, end.grace_ms)? {
            self.kill(end.whom, KILL);
        }
        let stuck = self.family(end.whom).iter().map(|process| process.pid).collect();
        let is_alone = self.reap().is_alone;
        self.tell(&Report::Quiet { found, stuck, is_alone })
    }

    /// Waits until those to end are gone, as long as it takes at most. Fails if the server is.
    fn is_over_within(&mut self, whom: Whom, ms: u64) -> io::Result<bool> {
        let until = Instant::now() + Duration::from_millis(ms);
        let mut pause = PAUSE.0;
        while !self.is_over(whom) {
            if Instant::now() >= until {
                return Ok(false);
            }
            // Asking for no event still tells of a hang-up.
            let mut news = [PollFd::from_borrowed_fd(self.inbox.socket(), PollFlags::empty())];
            if poll(&mut news, Some(&timespec(pause))).is_ok_and(|ready| ready > 0) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            pause = (pause * 2).min(PAUSE.1);
        }
        Ok(true)
    }

    /// Kills until they are gone, as long as it takes at most; says whether they are.
    #[expect(clippy::disallowed_methods, reason = "this process has one thread and no runtime")]
    fn kill(&mut self, whom: Whom, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut pause = PAUSE.0;
        while !self.is_over(whom) {
            if Instant::now() >= until {
                return false;
            }
            processes::kill(&self.family(whom));
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
        true
    }

    fn is_over(&mut self, whom: Whom) -> bool {
        self.reap().is_alone || (whom == Whom::PipeHolders && self.family(whom).is_empty())
    }

    fn reap(&mut self) -> Reaped {
        let mut main = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(ended) = self.main.take_if(|main| main.pid == pid) {
                        main = Some(ended.status().unwrap_or(status_of(status)));
                        self.ended = main;
                    }
                }
                Err(Errno::INTR) => {}
                outcome => {
                    return Reaped { main, is_alone: outcome.is_err() };
                }
            }
        }
    }

    fn family(&self, whom: Whom) -> Vec<Process> {
        // Without /proc there is no list; who waits for an end then sees that it doesn't come.
        let mut family = processes::family_of(getpid().as_raw_pid()).unwrap_or_default();
        family.retain(|process| whom == Whom::All || process.holds(self.pipes));
        family
    }

    fn name(&self, processes: &[Process]) -> Vec<Named> {
        let name = |process: &Process| Named {
            pid: process.pid,
            command: process.command(),
            holds_pipe: process.holds(self.pipes),
        };
        processes.iter().take(SURVIVORS_NAMED_MAX).map(name).collect()
    }

    /// Writes how the job ended, once the server is gone.
    fn say_how_it_ended(&mut self, was_killed: bool) {
        if let Some(spooled) = &self.spooled {
            let stuck = self.family(Whom::All).len();
            spooled.tell(&LastWord { status: self.ended, was_killed, stuck });
        }
    }

    fn tell(&self, report: &Report) -> io::Result<()> {
        self.inbox.reply(&encode(report)?)
    }
}

pub(crate) fn status_of(status: WaitStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Code(code),
        (None, signal) => Status::Signal(signal.unwrap_or_default()),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).expect("the waits of this crate are short")
}
