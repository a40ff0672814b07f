import { createHmac } from 'node:crypto';
import { systemClock, type Clock } from '@xiaoke/core';
import { MetricsError } from '../../errors.ts';
import { checkUrl, postJson, type HttpSinkOptions } from './http.ts';
import { describeAlerts, titleOf, type AlertNotification, type AlertSink } from './sink.ts';

/** How a chat robot is reached. */
export interface ChatSinkOptions extends HttpSinkOptions {
  /** The robot's signing secret, where it has one. */
  readonly secret?: string;
  readonly clock?: Clock;
}

/** A DingTalk robot. */
export function dingTalkSink(url: string, options: ChatSinkOptions = {}): AlertSink {
  return chatSink('dingtalk', url, options, (notification, now) => {
    const target = new URL(url);
    if (options.secret !== undefined) {
      // The secret is both the key and part of the text.
      const sign = createHmac('sha256', options.secret).update(`${now}\n${options.secret}`).digest('base64');
      target.searchParams.set('timestamp', String(now));
      target.searchParams.set('sign', sign);
    }
    const title = titleOf(notification);
    const text = `### ${title}\n\n${describeAlerts(notification)
      .map((line) => `- ${line}`)
      .join('\n')}`;
    return { url: target.href, body: { msgtype: 'markdown', markdown: { title, text } } };
  });
}

/** A Feishu (Lark) robot. */
export function feishuSink(url: string, options: ChatSinkOptions = {}): AlertSink {
  return chatSink('feishu', url, options, (notification, now) => {
    const text = [titleOf(notification), ...describeAlerts(notification)].join('\n');
    const body: Record<string, unknown> = { msg_type: 'text', content: { text } };
    if (options.secret !== undefined) {
      const timestamp = String(Math.floor(now / 1_000));
      body['timestamp'] = timestamp;
      // Feishu signs nothing with a key made of the timestamp and the secret.
      body['sign'] = createHmac('sha256', `${timestamp}\n${options.secret}`).update('').digest('base64');
    }
    return { url, body };
  });
}

/** A WeCom (WeChat Work) robot. */
export function weComSink(url: string, options: ChatSinkOptions = {}): AlertSink {
  return chatSink('wecom', url, options, (notification) => {
    const lines = describeAlerts(notification).map((line) => `> ${line}`);
    const content = `**${titleOf(notification)}**\n${lines.join('\n')}`;
    // The robot refuses more than 4096 bytes.
    return { url, body: { msgtype: 'markdown', markdown: { content: cutBytes(content, 4_096) } } };
  });
}

function chatSink(
  kind: string,
  url: string,
  options: ChatSinkOptions,
  make: (notification: AlertNotification, now: number) => { readonly url: string; readonly body: object },
): AlertSink {
  checkUrl(url);
  const clock = options.clock ?? systemClock;
  return {
    name: options.name ?? kind,
    send: async (notification, { signal }) => {
      const message = make(notification, clock.now());
      const answer = await postJson(message.url, message.body, { headers: options.headers, signal });
      refuseErrorCode(answer);
    },
  };
}

// These robots answer 200 with a code of their own.
function refuseErrorCode(answer: unknown): void {
  if (typeof answer !== 'object' || answer === null) return;
  const { errcode, code } = answer as { readonly errcode?: unknown; readonly code?: unknown };
  const failed = [errcode, code].find((value) => value !== undefined && value !== 0);
  if (failed === undefined) return;
  throw new MetricsError('PUSH_FAILED', `the robot refused the message with code ${String(Number(failed))}`);
}

function cutBytes(text: string, limit: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return text;
  let end = limit;
  // Not in the middle of a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end).toString();
}
