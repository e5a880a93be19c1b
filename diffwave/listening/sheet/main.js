// From the first page to the last.

class ListeningTest {
  constructor(sheet) {
    this.sheet = sheet;
    this.lastKey = storageKey(sheet, '');
    this.progress = null;
    this.leaving = () => false; // whether leaving the page now would be a pity
    window.addEventListener('beforeunload', (event) => {
      if (!this.leaving()) return;
      event.preventDefault();
      event.returnValue = '';
    });
  }

  /** Check the sounds and greet. */
  welcome(prefilled) {
    const { sheet } = this;
    showHead(sheet.title, '', 0, 0);
    this.leaving = () => false;
    const prepared = (done, total) => {
      const begin = document.getElementById('start');
      if (begin && begin.disabled) begin.firstChild.textContent = `Preparing sounds … ${done} of ${total}`;
    };
    this.ready = this.ready || Promise.resolve().then(() => checkStimuli(sheet, prepared));
    this.ready.catch((error) => showFailure(sheet, `The sounds cannot be decoded (${error && error.message ? error.message : error}).`));
    setKeys({});
    showWelcome(sheet, prefilled, this.ready, (listener) => this.arrive(listener));
  }

  /** A listener has given a name; this runs inside a click, so sound may start. */
  arrive(listener) {
    announce('');
    this.player = this.player || new Player(this.sheet.sample_rate);
    this.player.context.resume();
    this.key = storageKey(this.sheet, listener);
    this.pages = orderOf(this.sheet, listener, 'trials');
    this.practice = orderOf(this.sheet, listener, 'training');
    const stored = recall(this.key);
    keep(this.lastKey, listener);
    if (!stored) return this.go(newProgress(listener));
    return showReturn(stored, this.pages.length, (goOn) => this.go(goOn ? stored : newProgress(listener)));
  }

  /** Begin, or go on, with this progress. */
  go(progress) {
    this.progress = progress;
    this.sender = new Sender(progress, () => this.sent(progress));
    this.finish = null;
    this.taken = false;
    this.leaving = () => progress.stage !== 'finished' || (SERVED ? this.sender.waiting > 0 : !this.taken);
    this.player.setVolume(gainOf(progress.volume));
    this.save();
    this.sender.send();
    this.step();
  }

  /** Keep the progress on this device. */
  save() {
    keep(this.key, this.progress);
  }

  /** The server has more of the answers, or did not answer; `progress` may be an earlier listener's. */
  sent(progress) {
    if (progress !== this.progress) return;
    this.save();
    if (this.finish) this.finish.refresh();
    else announce(this.sender.message());
  }

  /** Show the page that the progress says comes next. */
  async step() {
    this.save();
    try {
      await { volume: this.volume, training: this.training, ready: this.begin, trials: this.trial, finished: this.finished }[this.progress.stage].call(this);
    } catch (error) {
      showFailure(this.sheet, `A sound cannot be played (${error.message || error}).`);
    }
  }

  /** Go on to a stage. */
  enter(stage) {
    this.progress.stage = stage;
    announce('');
    this.step();
  }

  async volume() {
    showHead(this.sheet.title, 'Volume', 0, 0);
    await showVolume(this.player, this.sheet, this.progress, () => {
      this.player.stop();
      this.enter(this.practice.length ? 'training' : 'ready');
    });
  }

  async training() {
    const { progress, practice, sheet } = this;
    const text = `Practice ${progress.trained + 1} of ${practice.length}`;
    showHead(sheet.title, text, progress.trained, practice.length);
    await showTrial(this.player, practice[progress.trained], METHODS[sheet.method], {
      name: 'training',
      heading: METHODS[sheet.method].question,
      nextLabel: 'Next',
      state: newTrialState(),
      changed: () => {},
      done: () => {
        progress.trained += 1;
        this.enter(progress.trained < practice.length ? 'training' : 'ready');
      },
    });
  }

  begin() {
    showHead(this.sheet.title, '', 0, 0);
    showReady(this.pages.length, this.practice.length > 0, () => this.enter('trials'));
  }

  async trial() {
    const { progress, pages, sheet } = this;
    const page = pages[progress.done];
    showHead(sheet.title, `Trial ${progress.done + 1} of ${pages.length}`, progress.done, pages.length);
    const state = progress.draft || newTrialState();
    progress.draft = state;
    await showTrial(this.player, page, METHODS[sheet.method], {
      name: 'trial',
      heading: METHODS[sheet.method].question,
      nextLabel: progress.done + 1 < pages.length ? 'Next' : 'Finish',
      state,
      changed: () => this.save(),
      done: () => this.answered(page, state),
    });
  }

  /** A trial is complete. */
  answered(page, state) {
    const { progress } = this;
    progress.rows.push(...rowsOf(this.sheet, progress, page, state));
    progress.done += 1;
    progress.draft = null;
    if (progress.done < this.pages.length) this.enter('trials');
    else this.enter('finished');
    this.sender.send();
  }

  finished() {
    keep(this.lastKey, null);
    showHead(this.sheet.title, 'Finished', this.pages.length, this.pages.length);
    this.finish = showFinish(this.sheet, this.progress, this.sender, {
      taken: () => {
        this.taken = true;
      },
      another: () => {
        this.leaving = () => false;
        this.welcome('');
      },
    });
  }

  /** What a program that drives the page may know; it changes nothing. */
  describe() {
    const { progress, sheet } = this;
    const pages = { training: this.practice, trials: this.pages }[progress ? progress.stage : ''] || [];
    const page = pages[progress && progress.stage === 'training' ? progress.trained : progress ? progress.done : 0];
    return JSON.parse(JSON.stringify({ method: sheet.method, progress, page: page || null }));
  }
}

/** Read the sheet and begin. */
function main() {
  const sheet = JSON.parse(document.getElementById('sheet').textContent);
  const test = new ListeningTest(sheet);
  Object.defineProperty(window, 'listeningTest', { value: Object.freeze({ describe: () => test.describe() }) });
  const asked = new URLSearchParams(location.search).get('listener') || '';
  test.welcome(asked || recall(test.lastKey) || '');
}

main();
