# Stands in for Mailpit: takes any mail on port 1025 and shows it on port 8025.
ARG SYSTEM_IMAGE
FROM ${SYSTEM_IMAGE}
RUN useradd --create-home catcher
USER catcher
WORKDIR /home/catcher
COPY constraints.txt mail_catcher.py ./
RUN python3 -m venv venv && venv/bin/pip install --no-cache-dir --constraint constraints.txt aiosmtpd
ENTRYPOINT ["/usr/bin/dumb-init", "--", "venv/bin/python", "mail_catcher.py"]
