// Starts Swagger UI on a tenant's API page; the address of the description is in the page, nothing is in a query.
"use strict";

(function start() {
  const place = document.getElementById("swagger-ui");
  const readOnly = new Set(["GET", "HEAD", "OPTIONS"]);

  window.SwaggerUIBundle({
    url: place.dataset.openapi,
    domNode: place,
    deepLinking: true,
    docExpansion: "list",
    persistAuthorization: false,
    validatorUrl: null,
    withCredentials: true,
    // The gateway exchanges the browser's session for a token, and demands this header on everything that writes.
    requestInterceptor(request) {
      request.credentials = "same-origin";
      if (!readOnly.has((request.method || "GET").toUpperCase())) {
        request.headers["X-Nagaya-CSRF"] = "1";
      }
      return request;
    },
  });
})();
