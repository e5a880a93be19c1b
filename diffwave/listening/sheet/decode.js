// From base64 FLAC inside the page to samples.

/** The bytes of a stimulus, from its own <script type="application/json">. */
function bytesOf(stimulus) {
  const text = atob(JSON.parse(document.getElementById(`audio-${stimulus}`).textContent));
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

/** Decode a stimulus at the rate of `context`. */
function decode(context, stimulus) {
  return new Promise((resolve, reject) => {
    // With callbacks too: Safari before 14.1 returns no promise.
    const promise = context.decodeAudioData(bytesOf(stimulus), resolve, reject);
    if (promise) promise.then(resolve, reject);
  });
}

/** A context that only decodes; it needs no click, and makes no sound. */
function decodingContext(rate) {
  const Context = window.OfflineAudioContext || window.webkitOfflineAudioContext;
  if (!Context || !(window.AudioContext || window.webkitAudioContext)) throw new Error('no Web Audio');
  try {
    return new Context(1, 1, rate);
  } catch {
    return new Context(1, 1, 44100);
  }
}

/** The context that plays, at the stimuli's own rate where the browser can, so that nothing is resampled twice. */
function playingContext(rate) {
  const Context = window.AudioContext || window.webkitAudioContext;
  try {
    return new Context({ sampleRate: rate });
  } catch {
    return new Context();
  }
}

/** Every stimulus of a sheet, once. */
function stimuliOf(sheet) {
  const trials = [...sheet.training, ...sheet.trials];
  const all = trials.flatMap((trial) => [trial.reference, ...trial.stimuli]);
  return [...new Set([sheet.volume, ...all])].filter(Boolean);
}

/**
 * Decode every stimulus once, so that a broken one shows before the test and not in the middle of it. The samples are
 * thrown away (a phone may not have room for all of them). Returns the lengths in seconds.
 */
async function checkStimuli(sheet, progress) {
  const context = decodingContext(sheet.sample_rate);
  const stimuli = stimuliOf(sheet);
  const seconds = {};
  for (const [index, stimulus] of stimuli.entries()) {
    seconds[stimulus] = (await decode(context, stimulus)).duration;
    document.body.dataset.decoded = `${index + 1}/${stimuli.length}`;
    progress(index + 1, stimuli.length);
  }
  return seconds;
}
