// Neither has types of its own.
declare module 'convict';
declare module 'nconf';
