// Answers as rows, and rows as a table that every program reads.

/** What listeners may call themselves: safe in file names and in spreadsheets. */
const LISTENER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The rows of a finished trial, one object per row with the columns of the sheet. */
function rowsOf(sheet, progress, page, state) {
  const common = {
    test_id: sheet.test_id,
    method: sheet.method,
    listener: progress.listener,
    session: progress.session,
    trial: page.trial,
    position: progress.done + 1,
    page_ms: Math.round(state.pageMs),
    started_at: state.startedAt,
    order_seed: sheet.order_seed,
    user_agent: navigator.userAgent.replace(/[^\x20-\x7e]|^[^A-Za-z]+/g, '').slice(0, 400),
  };
  const played = (roles) => ({
    plays: roles.reduce((sum, role) => sum + (state.plays[role] || 0), 0),
    listen_ms: Math.round(roles.reduce((sum, role) => sum + (state.heardMs[role] || 0), 0)),
  });
  return METHODS[sheet.method].answers(page, state).map(({ roles, ...answer }) => ({ ...common, ...answer, ...played(roles) }));
}

/** One field: quoted where RFC 4180 asks for it. */
function csvField(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows as CSV with a header. */
function csvOf(columns, rows) {
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))];
  return lines.map((line) => `${line.map(csvField).join(',')}\r\n`).join('');
}

/** Hand a text to the browser as a download. */
function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }));
  const link = make('a', { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // Safari reads the blob after the click returns.
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

/** Copy a text; true if the browser did. */
async function copyText(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    field.focus();
    field.select();
    return document.execCommand('copy');
  }
}
