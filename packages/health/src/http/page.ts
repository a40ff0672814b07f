import type { HealthCheckManager } from '../manager.ts';
import type { HealthReport } from '../report.ts';

/** One self-contained page for people: what is well, since when, and how it was over the last runs. */
export function renderPage(report: HealthReport, manager: HealthCheckManager): string {
  const rows = Object.entries(report.checks).map(([name, check]) => {
    const recent = manager.history(name).slice(-40);
    const bars = recent.map(({ status }) => `<i class="${status}"></i>`).join('');
    const { ratio } = manager.uptime(name, '24h');
    const cells = [
      `<th scope="row">${escape(name)}</th>`,
      `<td><b class="${check.status}">${check.status}</b></td>`,
      `<td>${escape(check.code ?? '')}</td>`,
      `<td>${check.critical ? 'critical' : 'optional'}</td>`,
      `<td>${ratio === undefined ? '' : `${(ratio * 100).toFixed(2)} %`}</td>`,
      `<td class="bars">${bars}</td>`,
    ];
    return `<tr>${cells.join('')}</tr>`;
  });
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${report.status}</title>
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5"><style>${STYLE}</style></head>
<body><main><h1>Health: <b class="${report.status}">${report.status}</b></h1>
<table><thead><tr><th>check</th><th>status</th><th>code</th><th>counts as</th><th>up, 24 h</th><th>last runs</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table></main></body></html>`;
}

const STYLE = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem}main{max-width:60rem;margin:auto}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #8884}
b.healthy{color:#187a35}b.degraded{color:#9a6700}b.unhealthy{color:#c11c1c}b.unknown{color:#666}
@media(prefers-color-scheme:dark){b.healthy{color:#4cc971}b.degraded{color:#e3b341}b.unhealthy{color:#ff7b72}b.unknown{color:#aaa}}
.bars i{display:inline-block;width:4px;height:1em;margin-right:1px;background:#8886}.bars i.healthy{background:#2da44e}
.bars i.degraded{background:#d4a72c}.bars i.unhealthy{background:#cf222e}`;

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
