// Answers on their way to the server that served the page. A page opened from disk never sends anything.

/** Whether there is a server to send to. */
const SERVED = location.protocol === 'http:' || location.protocol === 'https:';

class Sender {
  /** Sends what of `progress.rows` the server does not have yet; `changed` is called when that changes. */
  constructor(progress, changed) {
    this.progress = progress;
    this.changed = changed;
    this.busy = false;
    this.refused = '';
    this.wait = 1000;
  }

  /** Answers that only this device has. */
  get waiting() {
    return SERVED ? this.progress.rows.length - this.progress.sent : 0;
  }

  /** Send now; after a failure try again, later each time, up to every half minute. */
  async send() {
    clearTimeout(this.timer);
    if (this.busy || this.waiting === 0) return;
    this.busy = true;
    // Never more than the server takes at once; it recognises what it has already.
    const until = Math.min(this.progress.rows.length, this.progress.sent + 100);
    const saved = await this.post(this.progress.rows.slice(this.progress.sent, until));
    this.busy = false;
    if (saved) {
      this.progress.sent = until;
      this.wait = 1000;
      this.changed();
      this.send();
    } else {
      this.changed();
      this.timer = setTimeout(() => this.send(), this.wait);
      this.wait = Math.min(30000, this.wait * 2);
    }
  }

  /** One request; true if the server has the rows on its disk. */
  async post(rows) {
    try {
      const response = await fetch('results', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ rows }),
      });
      this.refused = response.ok ? '' : (await response.text()).slice(0, 200);
      return response.ok;
    } catch {
      this.refused = '';
      return false;
    }
  }

  /** What to tell the listener; empty if there is nothing to worry about. */
  message() {
    if (this.waiting === 0) return '';
    const why = this.refused ? ` The server said: ${this.refused}` : '';
    return `The server does not answer; your answers are kept on this device and will be sent again.${why}`;
  }
}
