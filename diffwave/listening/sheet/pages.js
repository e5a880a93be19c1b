// The pages around the trials.

/** One clear message instead of the test. */
function showFailure(sheet, text) {
  setKeys({});
  showHead(sheet.title, '', 0, 0);
  const browsers = 'A current Firefox, Chrome, Edge or Safari can play this test.';
  show('failure', 'This test cannot be played here', make('p', { class: 'warn' }, text), make('p', {}, browsers));
}

/** How long the test takes, in minutes, from the lengths of its sounds. */
function estimateMinutes(sheet, seconds) {
  const pages = [...sheet.training, ...sheet.trials];
  const audio = pages.flatMap((trial) => [trial.reference, ...trial.stimuli]).reduce((sum, id) => sum + (seconds[id] || 0), 0);
  const rounds = sheet.method === 'acr' ? 1.5 : 3; // comparing means playing more than once
  return Math.max(1, Math.ceil((audio * rounds + pages.length * 5) / 60));
}

/** A labelled line of facts. */
function fact(label, text) {
  return [make('dt', {}, label), make('dd', {}, text)];
}

/** Who listens; `ready` resolves to the stimuli's lengths when every sound was decoded. */
function showWelcome(sheet, listener, ready, start) {
  const method = METHODS[sheet.method];
  const pages = sheet.method === 'acr' ? sheet.trials.flatMap(alone).length : sheet.trials.length;
  const field = make('input', {
    type: 'text', id: 'listener', value: listener, maxlength: 64, autocomplete: 'off', autocapitalize: 'off',
    spellcheck: 'false', 'aria-describedby': 'listener-hint', required: true,
  });
  const begin = button('Preparing sounds …', { id: 'start', class: 'primary', disabled: true });
  const submit = () => {
    if (begin.disabled) return;
    if (LISTENER.test(field.value.trim())) start(field.value.trim());
    else announce('Please give a listener name: letters and digits; . _ - may follow.');
    if (!LISTENER.test(field.value.trim())) field.focus();
  };
  begin.addEventListener('click', submit);
  field.addEventListener('keydown', (event) => event.key === 'Enter' && submit());
  const duration = make('dd', { id: 'duration' }, '…');
  const facts = make('dl', { class: 'facts' }, ...fact('Trials', `${pages}, after ${sheet.training.length} to practise`), make('dt', {}, 'Duration'), duration);
  const hint = make('p', { class: 'hint', id: 'listener-hint' }, 'As you were told, or any name you choose: letters, digits, . _ -');
  show('welcome', sheet.title,
    make('p', { class: 'lead' }, 'In this listening test you judge sounds by ear. ', method.question),
    facts,
    make('p', {}, 'Please use headphones, and sit somewhere quiet. Your progress is kept on this device, so you may pause at any time.'),
    make('label', { for: 'listener' }, 'Listener'), field, hint, make('div', { class: 'foot' }, begin));
  ready.then((seconds) => {
    duration.textContent = `about ${estimateMinutes(sheet, seconds)} min`;
    begin.disabled = false;
    begin.firstChild.textContent = 'Start';
  }, () => {});
}

/** A listener comes back: go on, or begin again. */
function showReturn(progress, total, chosen) {
  const choose = once(chosen);
  const finished = progress.stage === 'finished';
  const where = progress.stage === 'trials' ? `Trial ${progress.done + 1} of ${total} comes next.` : 'You had not begun the trials.';
  const text = finished ? 'This listener has finished the test on this device.' : where;
  const go = button(finished ? 'Show the results' : 'Go on', { id: 'resume', class: 'primary', onclick: () => choose(true) });
  const again = button(finished ? 'Take it once more' : 'Begin again', { id: 'restart', onclick: () => choose(false) });
  setKeys({ enter: () => choose(true) });
  show('return', `Welcome back, ${progress.listener}`, make('p', { class: 'lead' }, text), make('div', { class: 'foot' }, again, go));
}

/** Adjust the level, then leave it. */
async function showVolume(player, sheet, progress, kept) {
  const done = once(kept);
  const buffer = await decode(player.context, sheet.volume);
  const refresh = () => parts.forEach((part) => part.refresh());
  player.load({ volume: buffer }, { changed: () => refresh(), started() {}, heard() {} });
  player.loop = true;
  const controls = transport(player, { first: 'volume', region: false });
  const slider = make('input', { type: 'range', id: 'volume', min: 0, max: 100, value: progress.volume, 'aria-label': 'Volume' });
  slider.addEventListener('input', () => {
    progress.volume = Number(slider.value);
    player.setVolume(gainOf(progress.volume));
  });
  let played = false;
  const go = () => (played ? done() : announce('Please play the sound first.'));
  const next = button('Keep this volume', { id: 'next', class: 'primary', onclick: go });
  const parts = [controls, { refresh() {
    played = played || player.state === 'playing';
    next.setAttribute('aria-disabled', String(!played));
  } }];
  show('volume', 'Set the volume',
    make('p', { class: 'help' }, 'Play the sound and make it comfortably loud. Then leave the volume as it is until the end.'),
    controls.node,
    make('div', { class: 'row rated current volume' }, make('span', { 'aria-hidden': 'true' }, 'Volume'), slider),
    make('p', { class: 'hint' }, 'Too quiet at the right end? Turn up the device. Nothing at all on a phone? Switch silent mode off.'),
    make('div', { class: 'foot' }, make('p', { class: 'todo' }), next),
    keyHelp([['Space', 'play, pause'], ['Enter', 'keep']]));
  setKeys({ ...controls.shortcuts, enter: go });
  refresh();
}

/** The gain of a volume slider's position: 40 dB from 0 to 100, never above the recording's own level. */
function gainOf(volume) {
  return 10 ** ((volume - 100) / 50);
}

/** Between training and trials. */
function showReady(total, practised, begin) {
  const done = once(begin);
  setKeys({ enter: done });
  show('ready', 'Now the test begins',
    make('p', { class: 'lead' }, `${practised ? 'Practice is over; from' : 'From'} here your answers count. ${total} ${total === 1 ? 'trial follows' : 'trials follow'}.`),
    make('p', {}, 'There are no right answers to find out: judge by what you hear. Take a break whenever you like.'),
    make('div', { class: 'foot' }, button('Begin', { id: 'next', class: 'primary', onclick: done })));
}

/** The end: where the answers are, and how to take them along. */
function showFinish(sheet, progress, sender, { taken, another }) {
  const name = `${sheet.test_id}-${progress.listener}.csv`;
  const text = csvOf(sheet.columns, progress.rows);
  const field = make('textarea', { readonly: true, rows: 6, id: 'csv', 'aria-label': 'Results as text', spellcheck: 'false' });
  field.value = text;
  const save = button('Download the results', { id: 'download', class: SERVED ? '' : 'primary', onclick: () => {
    download(name, text);
    taken();
    announce(`Downloaded as ${name}, if the browser allows it.`);
  } });
  const copy = button('Copy as text', { id: 'copy', onclick: async () => {
    if (await copyText(text, field)) {
      taken();
      announce('Copied.');
    } else announce('Select the text below and copy it by hand.');
  } });
  const state = make('p', { id: 'saved' });
  const refresh = () => {
    state.className = sender.waiting ? 'lead warn' : 'lead';
    state.textContent = savedText(sender, name);
  };
  setKeys({});
  show('finish', 'Thank you!', state, make('div', { class: 'buttons' }, save, copy),
    make('details', {}, make('summary', {}, 'Results as text'), field),
    make('div', { class: 'foot' }, button('Next listener', { id: 'another', onclick: another })));
  refresh();
  return { refresh };
}

/** Whether the answers are saved, and what to do about it. */
function savedText(sender, name) {
  if (!SERVED) return `You have finished the test. Your answers are on this device only: please download ${name} and send it to whoever invited you.`;
  if (sender.waiting === 0) return 'You have finished the test, and all your answers are saved on the server. You can close this page.';
  return 'You have finished the test, but the server does not answer. This page keeps trying; if that does not help, download the results and hand them over.';
}
