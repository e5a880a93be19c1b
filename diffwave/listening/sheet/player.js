// Plays the sounds of one trial on one time line: switching keeps the position.
//
// ITU-R BS.1534-3: at a switch 5 ms raised-cosine fades, out and then in, never a cross-fade; loops of 0.5 s or more.

const FADE = 0.005;
const LEAD = 0.01; // what is scheduled must lie a little in the future
const MIN_REGION = 0.5;
const FADE_IN = Float32Array.from({ length: 33 }, (_, i) => 0.5 - 0.5 * Math.cos((Math.PI * i) / 32));
const FADE_OUT = FADE_IN.slice().reverse();

class Player {
  /** A player without sounds; `sampleRate` is the stimuli's. */
  constructor(sampleRate) {
    this.context = playingContext(sampleRate);
    this.master = this.context.createGain();
    this.master.connect(this.context.destination);
    this.load({}, { changed() {}, started() {}, heard() {} });
  }

  /** New sounds: role -> AudioBuffer; hooks: changed(), started(role), heard(role, from, to). */
  load(buffers, hooks) {
    if (this.voice) this.silence();
    this.buffers = buffers;
    this.hooks = hooks;
    this.role = null;
    this.state = 'stopped';
    this.paused = 0;
    this.loop = false;
    this.duration = Math.min(...Object.values(buffers).map((buffer) => buffer.duration));
    this.region = { start: 0, end: this.duration };
  }

  /** Loudness of everything, 0 to 1. */
  setVolume(gain) {
    this.master.gain.setTargetAtTime(gain, this.context.currentTime, 0.01);
  }

  /** Where the time line stands, in seconds. */
  position(time = this.context.currentTime) {
    if (this.state !== 'playing') return this.state === 'paused' ? this.paused : this.region.start;
    const voice = this.next && time >= this.next.when ? this.next : this.voice;
    return Math.min(voice.until, voice.offset + Math.max(0, time - voice.when));
  }

  /** Seconds of the current role that have sounded and that heard() has not told of yet. */
  unreported(time = this.context.currentTime) {
    // Around a turn of the loop both count: the round that is over, and the one that has begun.
    const sounded = (voice) => Math.max(0, Math.min(voice.until - voice.offset, time - voice.when));
    return [this.voice, this.next].filter(Boolean).reduce((sum, voice) => sum + sounded(voice), 0);
  }

  /** Play `role`, from where the time line stands. */
  play(role = this.role) {
    this.begin(role);
    this.hooks.started(role);
    this.hooks.changed();
  }

  /** Switch to `role`, or start it. */
  begin(role) {
    this.context.resume();
    let when = this.context.currentTime + LEAD;
    let offset = this.state === 'stopped' ? this.region.start : this.position(when);
    if (this.state === 'playing') {
      when += FADE; // the old one fades out first
      offset = this.position(when);
      this.silence();
    }
    const inside = offset >= this.region.start && offset < this.region.end - 3 * FADE;
    this.role = role;
    this.state = 'playing';
    this.voice = this.schedule(when, inside ? offset : this.region.start);
    this.repeat();
  }

  /** Play or pause. */
  toggle(role = this.role) {
    if (this.state === 'playing' && role === this.role) this.pause();
    else this.play(role);
  }

  /** Stop for a while; the position stays. */
  pause() {
    if (this.state !== 'playing') return;
    this.paused = this.position();
    this.silence();
    this.state = 'paused';
    this.hooks.changed();
  }

  /** Stop and go back to the start. */
  stop() {
    if (this.state === 'playing') this.silence();
    this.state = 'stopped';
    this.hooks.changed();
  }

  /** Repeat the region, or play it once. */
  setLoop(loop) {
    this.loop = loop;
    if (this.state === 'playing') this.repeat();
    this.hooks.changed();
  }

  /** What is played, in seconds; kept at least half a second long. */
  setRegion(start, end) {
    const length = Math.min(MIN_REGION, this.duration);
    this.region.start = Math.max(0, Math.min(start, this.duration - length));
    this.region.end = Math.min(this.duration, Math.max(end, this.region.start + length));
    if (this.state === 'paused') this.paused = Math.max(this.region.start, Math.min(this.paused, this.region.end));
    if (this.state === 'playing') this.begin(this.role); // goes on inside the new region; the listener started nothing
    this.hooks.changed();
  }

  /** One stretch of sound from `offset` to the end of the region, with a fade at either end. */
  schedule(when, offset) {
    const until = this.region.end;
    const source = this.context.createBufferSource();
    const edge = this.context.createGain();
    const cut = this.context.createGain(); // of its own: curves on one gain must not overlap
    source.buffer = this.buffers[this.role];
    source.connect(edge).connect(cut).connect(this.master);
    edge.gain.value = 0;
    edge.gain.setValueCurveAtTime(FADE_IN, when, FADE);
    edge.gain.setValueCurveAtTime(FADE_OUT, when + (until - offset) - FADE, FADE);
    source.start(when, offset, until - offset);
    const voice = { role: this.role, source, cut, when, offset, until };
    source.onended = () => this.ended(voice);
    return voice;
  }

  /** In a loop, have the next round scheduled before this one ends: the rounds join without a gap. */
  repeat() {
    if (this.next) this.next.source.stop();
    const { when, offset, until } = this.voice;
    this.next = this.loop ? this.schedule(when + until - offset, this.region.start) : null;
  }

  /** A stretch came to its end. */
  ended(voice) {
    if (voice !== this.voice) return;
    this.hooks.heard(voice.role, voice.offset, voice.until);
    this.voice = this.next;
    this.next = null;
    if (this.voice) this.repeat();
    else this.state = 'stopped';
    this.hooks.changed();
  }

  /** Fade out what sounds, drop what was scheduled. */
  silence() {
    const time = this.context.currentTime + LEAD;
    for (const voice of [this.voice, this.next]) {
      if (!voice) continue;
      const to = Math.min(voice.until, voice.offset + (time - voice.when));
      if (to > voice.offset) this.hooks.heard(voice.role, voice.offset, to);
      voice.cut.gain.setValueCurveAtTime(FADE_OUT, time, FADE);
      voice.source.stop(time + FADE);
    }
    this.voice = null;
    this.next = null;
  }
}
